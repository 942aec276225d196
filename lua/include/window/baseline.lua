--- @include "store/record"
-- The threshold of slowness. With a `latency_threshold` it is that value; without one it is relative: 3 x the
-- deployment's own baseline of the same kind of call, never under 2 s, and unknown before 20 samples. A sample of a
-- stream is its time to first content, of a plain call its total less `token_allowance_ms` per token, at least 0.
--   first 20 samples   mean += (sample - mean) / n                (running mean; Welford 1962)
--   after that         mean += (sample - mean) / 100              (EWMA, as the srtt of RFC 6298)
--   ceiling            min(ceiling * 1.2 ^ hours, 1.25 * mean), hours since the last sample, at most 1
-- and the mean never exceeds the ceiling. So it grows by at most half in any hour (1.25 * 1.2) and falls freely: a
-- deployment that becomes slow does not become its own measure. A cap on each step instead would let ordinary jitter
-- pull the mean down to the fastest call. Stored as one readable field for each kind, in whole numbers: mean in us,
-- samples (at most 20), ceiling in us, time of the last sample in ms.
local BASELINE_SAMPLES, BASELINE_GAIN, BASELINE_TIMES, BASELINE_LEAST_MS, BASELINE_HOUR_MS = 20, 0.01, 3, 2000, 3600000
local BASELINE_HEADROOM, BASELINE_HOURLY = 1.25, 1.2

local function baseline_read(d, stream)
  local field = stream and 'baseline_stream' or 'baseline_plain'
  d.baselines = d.baselines or {}
  if not d.baselines[field] then
    local mean, samples, ceiling, at_ms = string.match(d[field] or '', '^(%d+) (%d+) (%d+) (%d+)$')
    if not mean then mean, samples, ceiling, at_ms = 0, 0, 0, 0 end  -- none yet, or as an earlier release wrote it
    d.baselines[field] = { field = field, mean = mean / 1000, samples = samples + 0, ceiling = ceiling / 1000,
      at_ms = at_ms + 0 }
  end
  return d.baselines[field]
end

-- In ms; nil while a relative threshold is unknown.
local function baseline_threshold(d, stream)
  if d.latency_threshold_ms then return d.latency_threshold_ms end
  local b = baseline_read(d, stream)
  return b.samples >= BASELINE_SAMPLES and math.max(BASELINE_LEAST_MS, BASELINE_TIMES * b.mean) or nil
end

local function baseline_learn(d, stream, x, now)
  if d.latency_threshold_ms then return end
  local b = baseline_read(d, stream)
  if b.samples < BASELINE_SAMPLES then
    b.samples = b.samples + 1
    b.mean, b.ceiling = b.mean + (x - b.mean) / b.samples, math.huge
  else
    b.ceiling = b.ceiling * BASELINE_HOURLY ^ clamp((now - b.at_ms) / BASELINE_HOUR_MS, 0, 1)
    b.mean = math.min(b.ceiling, b.mean + BASELINE_GAIN * (x - b.mean))
  end
  local mean_us = math.floor(1000 * b.mean)
  local ceiling_us = math.floor(1000 * math.min(b.ceiling, BASELINE_HEADROOM * b.mean))
  b.mean, b.ceiling, b.at_ms = mean_us / 1000, ceiling_us / 1000, now  -- as they are stored
  local text = string.format('%d %d %d %d', mean_us, b.samples, ceiling_us, now)
  if b.writes == d.writes then d[b.field] = text else record_set(d, b.field, text) end  -- a block learns many times
  b.writes = d.writes
end
