--- @include "window/window"
-- Sums over the slices that are still inside the window. The oldest slice counts only by the part of it that
-- is not yet overlapped by the current one, so the window slides instead of jumping every 10 s.
local function window_read(raw, now)
  local sums = { 0, 0, 0, 0, 0, 0, samples = 0, buckets = {} }
  local current, left = math.floor(now / SLICE_MS), 1 - (now % SLICE_MS) / SLICE_MS
  for start = 0, #raw - SLICE_BYTES, SLICE_BYTES do
    local head = { string.byte(raw, start + 1, start + WORDS * 4) }
    local function word(k)
      return ((head[k * 4 + 1] * 256 + head[k * 4 + 2]) * 256 + head[k * 4 + 3]) * 256 + head[k * 4 + 4]
    end
    local age = current - word(0)
    if age >= 0 and age < SLICES then
      local weight = age == SLICES - 1 and left or 1
      for k = 1, WORDS - 1 do sums[k] = sums[k] + weight * word(k) end
      local counts = { string.byte(raw, start + WORDS * 4 + 1, start + SLICE_BYTES) }
      for k = 0, BUCKETS - 1 do
        local count = weight * (counts[k * 2 + 1] * 256 + counts[k * 2 + 2])
        if count > 0 then
          sums.buckets[k] = (sums.buckets[k] or 0) + count
          sums.samples = sums.samples + count
        end
      end
    end
  end
  sums.calls, sums.failures, sums.slow, sums.latency_ms = sums[1], sums[2], sums[3], sums[6]
  sums.throttled, sums.tokens = sums[4], sums[5]
  return sums
end

-- The sums as they will be once `sample` is written: decide first, write afterwards.
local function window_include(sums, sample)
  for _, name in ipairs({ 'calls', 'failures', 'slow', 'latency_ms' }) do
    sums[name] = sums[name] + (sample[name] or 0)
  end
  if sample.latency_ms then
    local k = window_bucket(sample.latency_ms)
    sums.buckets[k], sums.samples = (sums.buckets[k] or 0) + 1, sums.samples + 1
  end
end

-- The value of a bucket is the one with equal relative error to both of its ends (DDSketch's rule).
local function window_percentile(sums, share)
  local gamma, rank, seen = 2 ^ (1 / BUCKETS_PER_OCTAVE), share * sums.samples, 0
  for k = 0, BUCKETS - 1 do
    seen = seen + (sums.buckets[k] or 0)
    if seen > 0 and seen >= rank - 1e-9 then return BUCKET_START_MS * gamma ^ k * 2 / (1 + gamma) end
  end
  return 0
end
