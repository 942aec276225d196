--- @include "store/record"
--- @include "forecast/holt_winters"
--- @include "forecast/season"
-- One series of a forecast's hash, `name` arrivals or latency: _level, _trend, _seen (hours), _since and _hour (the
-- first and the last), _before (the last one's value), _expected and _week_ago (of the hour that runs), _error,
-- _error_hour, _error_week, _scored. In the first week nothing is known but the last hour; then the mean of the week
-- becomes the level, and each hour's excess the season. Until then there is no _trend.
local ERRORS_KEPT, WEEK_LEAST, SERIES_CELL = 168, 84, { arrivals = 0, latency = 2 }

local function series_begin(f, name, season_key)
  local rows, sum, count = season_read(season_key, 0, WEEK), 0, 0
  for hour = 0, WEEK - 1 do
    local last = rows[hour][name .. '_last']
    if last then sum, count = sum + last, count + 1 end
  end
  for hour = 0, WEEK - 1 do
    local last = rows[hour][name .. '_last']
    if last then season_write(season_key, hour, SERIES_CELL[name], last - sum / count) end
  end
  record_set(f, name .. '_level', decimal(sum / count, 4))
  record_set(f, name .. '_trend', 0)
  for _, error in ipairs({ '_error', '_error_hour', '_error_week', '_scored' }) do record_set(f, name .. error, nil) end
end

-- Errors of the forecast and of the naive forecasts: means of the last week.
local function series_score(f, name, x)
  local expected, before, week_ago = f[name .. '_expected'], f[name .. '_before'], f[name .. '_week_ago']
  if not (expected and before and week_ago) then return end
  local scored = math.min((f[name .. '_scored'] or 0) + 1, ERRORS_KEPT)
  for field, predicted in pairs({ _error = expected, _error_hour = before, _error_week = week_ago }) do
    local error = tonumber(f[name .. field] or 0)
    record_set(f, name .. field, decimal(error + (math.abs(x - predicted) - error) / scored, 4))
  end
  record_set(f, name .. '_scored', scored)
end
