--- @include "window/window"
-- Many samples of one deployment in two commands instead of one each.
local function window_gather(totals, sample)
  for _, name in ipairs({ 'calls', 'failures', 'slow', 'throttled', 'tokens' }) do
    totals[name] = (totals[name] or 0) + sample[name]
  end
  if sample.latency_ms then
    local bucket = window_bucket(sample.latency_ms)
    totals.sum_ms, totals.buckets = (totals.sum_ms or 0) + sample.latency_ms, totals.buckets or {}
    totals.buckets[bucket] = (totals.buckets[bucket] or 0) + 1
  end
end

local function window_add_totals(key, now, totals)
  if not totals.calls then return end
  window_add(key, now, totals)  -- after this the slice is the one of now
  if not totals.buckets then return end
  local bit = (math.floor(now / SLICE_MS) % SLICES) * SLICE_BYTES * 8
  local words = { 'OVERFLOW', 'SAT', 'INCRBY', 'u32', bit + 192, totals.sum_ms }
  for bucket, count in pairs(totals.buckets) do
    local k = #words
    words[k + 1], words[k + 2], words[k + 3], words[k + 4] = 'INCRBY', 'u16', bit + WORDS * 32 + bucket * 16, count
  end
  redis.call('BITFIELD', key, unpack(words))
end
