--- @include "store/number"
-- The sliding window: 60 s as 6 slices of 10 s packed into one string (756 bytes), so its size never grows.
-- Per slice 7 unsigned 32-bit numbers (slice index, calls, failures, slow, throttled, tokens, total latency ms)
-- and 49 unsigned 16-bit latency buckets: bucket k ends at 32 ms * 2^(k/4), the mapping of OpenTelemetry's
-- exponential histogram at scale 2 (worst error 8.6 % from 27 ms to 131 s).
local SLICES, SLICE_MS, WORDS, BUCKETS = 6, 10000, 7, 49
local SLICE_BYTES = WORDS * 4 + BUCKETS * 2
local BUCKET_START_MS, BUCKETS_PER_OCTAVE = 32, 4

local function window_bucket(latency_ms)
  if latency_ms <= BUCKET_START_MS then return 0 end
  local octaves = math.log(latency_ms / BUCKET_START_MS) / math.log(2)
  return math.min(BUCKETS - 1, math.ceil(octaves * BUCKETS_PER_OCTAVE))
end

-- sample: calls, failures, slow, throttled, tokens as numbers; latency_ms only for a successful call, because
-- a provider that fails fast must not look fast.
local function window_add(key, now, sample)
  local index = math.floor(now / SLICE_MS)
  local start = (index % SLICES) * SLICE_BYTES
  local bit = start * 8
  local words, size, latency_ms = { 'OVERFLOW', 'SAT', 'GET', 'u32', bit }, 5, sample.latency_ms
  local function add(kind, at, amount)
    if not amount or amount == 0 then return end
    words[size + 1], words[size + 2], words[size + 3], words[size + 4], size = 'INCRBY', kind, at, amount, size + 4
  end
  add('u32', bit + 32, sample.calls)
  add('u32', bit + 64, sample.failures)
  add('u32', bit + 96, sample.slow)
  add('u32', bit + 128, sample.throttled)
  add('u32', bit + 160, sample.tokens)
  add('u32', bit + 192, latency_ms)
  if latency_ms then add('u16', bit + WORDS * 32 + window_bucket(latency_ms) * 16, 1) end
  if redis.call('BITFIELD', key, unpack(words))[1] == index then return end
  -- The first call of a slice removes the counts of the old one. The string has its full length from the start, because
  -- one that grows slice by slice is allocated twice the memory.
  local whole = SLICES * SLICE_BYTES
  local raw = redis.call('GETRANGE', key, 0, whole - 1)
  raw = raw .. string.rep('\0', whole - #raw)
  redis.call('SET', key, string.sub(raw, 1, start) .. string.rep('\0', SLICE_BYTES)
    .. string.sub(raw, start + SLICE_BYTES + 1), 'PX', (SLICES + 1) * SLICE_MS)
  redis.call('BITFIELD', key, 'SET', 'u32', bit, index)
  redis.call('BITFIELD', key, unpack(words))
end
