--- @include "number"
-- The latency that is usual for a deployment, by kind of call, because the first content of a stream and a whole
-- answer do not compare. Plain calls count without the allowance for their tokens.
--   b = b + (x - b) / min(n, 100), and at most b * 1.5 ^ (hours since the last success, 1 at most)
-- The first calls are averaged (Welford's running mean), later ones smoothed exponentially with a fixed gain, as
-- RFC 6298 smooths round trips. The cap keeps a brown-out from becoming usual; what becomes faster is believed at once.
-- Only calls of a closed breaker are learned from.
local BASELINE_CALLS, BASELINE_GAIN_CALLS, BASELINE_GROWTH, HOUR_MS = 20, 100, 1.5, 3600000
local BASELINE_FACTOR, THRESHOLD_LEAST_MS = 3, 2000

-- What counts as slow: `latency_threshold_ms` where it is configured, else three times the baseline and at least two
-- seconds. nil: too few calls are known to judge.
local function baseline_threshold(d, is_stream)
  if d.latency_threshold_ms then return d.latency_threshold_ms end
  local name = is_stream and 'baseline_stream' or 'baseline_plain'
  if (d[name .. '_calls'] or 0) < BASELINE_CALLS then return nil end
  return math.max(THRESHOLD_LEAST_MS, BASELINE_FACTOR * d[name .. '_ms'])
end

-- The longest of them, for calls whose answer is still to come.
local function baseline_patience(d)
  local stream_ms, plain_ms = baseline_threshold(d, true), baseline_threshold(d, false)
  return math.max(stream_ms or THRESHOLD_LEAST_MS, plain_ms or THRESHOLD_LEAST_MS)
end

-- `elapsed_ms` since the last success.
local function baseline_learn(d, is_stream, latency_ms, elapsed_ms)
  if d.latency_threshold_ms then return end
  local name = is_stream and 'baseline_stream' or 'baseline_plain'
  local calls, before = (d[name .. '_calls'] or 0) + 1, d[name .. '_ms'] or latency_ms
  local after = before + (latency_ms - before) / math.min(calls, BASELINE_GAIN_CALLS)
  if calls > BASELINE_CALLS then
    after = math.min(after, math.max(1, before) * BASELINE_GROWTH ^ clamp(elapsed_ms / HOUR_MS, 0, 1))
  end
  record_set(d, name .. '_ms', decimal(after, 5))
  if calls <= BASELINE_GAIN_CALLS then record_set(d, name .. '_calls', calls) end
end
