--- @include "forecast/learn"
--- @include "limit/adaptive"
--- @include "store/deployment"
-- Forecast of the coming minutes, and its confidence. Hours are points in the middle of each, with straight
-- lines between.
local HOUR_MS, MINUTES_KEPT, SCORED_LEAST, SHARE_MOST, NAIVE_BETTER = 3600000, 5, 24, 0.95, 1.25

-- `rows`: of the hours, beginning with the one before `wall_ms`.
local function foresee(f, name, rows, wall_ms, at_ms)
  local first, point = math.floor(wall_ms / HOUR_MS - 0.5), at_ms / HOUR_MS - 0.5
  local hour = math.floor(point)
  local a = series_ahead(f, name, hour, rows[hour - first][name])
  local b = series_ahead(f, name, hour + 1, rows[hour - first + 1][name])
  return a and a + (b - a) * (point - hour)
end

-- The error of the last minutes, relative to the larger of observed and expected arrivals. A worse minute counts fully
-- and at once; a better one moves the error by a fifth.
local function foresee_miss(f, arrivals, expected)
  local most = math.max(arrivals, expected)
  local miss = most > 0 and math.abs(arrivals - expected) / most or 0
  local before = f.miss or 1
  record_set(f, 'miss', decimal(math.max(miss, before + (miss - before) / MINUTES_KEPT), 4))
end

-- The confidence, 0 to 1. It is 0 before a season and a day, and where a naive guess is much better (a slightly better
-- guess means that there is hardly a season). It falls with the errors of the week and of the last minutes, to 0 at an
-- error of half.
local function foresee_trust(f)
  if not (f.arrivals_trend and f.latency_trend) or (f.arrivals_scored or 0) < SCORED_LEAST then return 0 end
  local error = tonumber(f.arrivals_error)
  if error > NAIVE_BETTER * math.min(tonumber(f.arrivals_error_hour), tonumber(f.arrivals_error_week)) then return 0 end
  local off = math.max(error / math.max(tonumber(f.arrivals_level), 0.01), tonumber(f.miss or 1),
    tonumber(f.latency_error or 0) / math.max(tonumber(f.latency_level), 1))
  return clamp(1 - 2 * off, 0, 1)
end

-- Little's law: requests at a time. Its share of the adaptive score is what is left of the limit.
local function foresee_use(f, d, arrivals, latency_ms, until_ms)
  local trust, active = foresee_trust(f), (arrivals or 0) / 60000 * (latency_ms or 0)
  local utilisation = active / adapt_limit(d)
  local share = 1 - trust * math.min(utilisation, SHARE_MOST)
  record_set(f, 'arrivals_ahead', decimal(arrivals or 0, 2))
  record_set(f, 'latency_ahead', decimal(latency_ms or 0, 1))
  record_set(f, 'utilisation', decimal(utilisation, 3))
  record_set(f, 'trust', decimal(trust, 3))
  record_set(d, 'forecast_share', trust > 0 and decimal(share, 3) or nil)
  record_set(d, 'forecast_until_ms', trust > 0 and until_ms or nil)
  return (d.active or 0) + trust * (active - (d.active or 0))
end
