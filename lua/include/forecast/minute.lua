--- @include "window/window_read"
--- @include "forecast/foresee"
-- One minute of a deployment: its numbers are added to the current hour of the wall clock. An hour with too few
-- measured minutes, because the cluster was down or the breaker open, is missing; an hour that the clock repeats counts
-- twice.
local MINUTE_MS, SEEN_LEAST, WINDOW_MS = 60000, 10, 50000
local FORGOTTEN_MS = 4 * 7 * 24 * 3600000  -- data of a deployment that no replica ticks expire

local function minute_close(f, season_key)
  if (f.measured or 0) >= SEEN_LEAST then
    series_learn(f, 'arrivals', season_key, f.hour, f.arrivals_sum / f.measured)
    if f.arrivals_sum > 0 then
      series_learn(f, 'latency', season_key, f.hour, f.active_sum / f.arrivals_sum * MINUTE_MS)
    end
  end
end

local function minute_open(f, season_key, hour, row)
  for _, field in ipairs({ 'measured', 'arrivals_sum', 'active_sum' }) do record_set(f, field, 0) end
  series_open(f, 'arrivals', hour, row)
  series_open(f, 'latency', hour, row)
  record_set(f, 'hour', hour)
  for _, key in ipairs({ f.key, season_key }) do redis.call('PEXPIRE', key, FORGOTTEN_MS) end
end

-- Arrivals are the calls that ended in the window, refused by the provider or not. The latency, also of streams, is the
-- time for which a call holds its permit: the active calls divided by the arrivals (Little's law). Not measured: calls
-- kept away by an open breaker, and the minute after it moved, because its window starts again.
local function minute_measure(f, d, window, now, expected)
  if d.state ~= 'closed' or now - (d.changed_at_ms or 0) < MINUTE_MS then return end
  local sums = window_read(window, now)
  local arrivals = (sums.calls + sums.throttled) * MINUTE_MS / WINDOW_MS
  record_set(f, 'measured', f.measured + 1)
  record_set(f, 'arrivals_sum', tonumber(decimal(f.arrivals_sum + arrivals, 3)))
  record_set(f, 'active_sum', f.active_sum + (d.active or 0))
  if expected then foresee_miss(f, arrivals, expected) end
end

-- `ahead_ms`: how far ahead to predict.
local function minute_run(f, d, keys, now, wall_ms, ahead_ms, until_ms)
  local hour, first = math.floor(wall_ms / HOUR_MS), math.floor(wall_ms / HOUR_MS - 0.5)
  if f.hour and f.hour ~= hour then minute_close(f, keys.season) end
  local rows = season_read(keys.season, first, 3)
  if f.hour ~= hour then minute_open(f, keys.season, hour, rows[hour - first]) end
  minute_measure(f, d, redis.call('GET', keys.window) or '', now, foresee(f, 'arrivals', rows, wall_ms, wall_ms))
  local at_ms = wall_ms + ahead_ms
  local arrivals, latency = foresee(f, 'arrivals', rows, wall_ms, at_ms), foresee(f, 'latency', rows, wall_ms, at_ms)
  return foresee_use(f, d, arrivals, latency, until_ms)
end
