--- @include "forecast/series"
-- Adds a finished hour to a series and opens the next one.
local function series_state(f, name)
  local function number(field) return tonumber(f[name .. field] or 0) end
  return { level = number('_level'), trend = number('_trend'), seen = number('_seen'), hour = number('_hour') }
end

-- Returns the expected value of an hour; nil while nothing is known. A trend is followed for a week without
-- observations at most.
local function series_ahead(f, name, hour, season)
  if not f[name .. '_level'] then return nil end
  local s = series_state(f, name)
  return holt_ahead(s, f[name .. '_trend'] and season or 0, clamp(hour - s.hour, 0, WEEK))
end

local function series_learn(f, name, season_key, hour, x)
  local s, cell = series_state(f, name), SERIES_CELL[name]
  series_score(f, name, x)
  if f[name .. '_trend'] then
    local row = season_read(season_key, hour, 1)[0]
    local season = row[name .. '_last'] and row[name]
    local level, trend, fresh = holt_step(s, x, season, clamp(hour - s.hour, 0, WEEK))
    season_write(season_key, hour, cell, fresh, x)
    record_set(f, name .. '_level', decimal(level, 4))
    record_set(f, name .. '_trend', decimal(trend, 6))
  else
    season_write(season_key, hour, cell, nil, x)
    record_set(f, name .. '_level', decimal(x, 4))
    -- An hour before the first: the clock was ahead then.
    if hour < (f[name .. '_since'] or math.huge) then record_set(f, name .. '_since', hour) end
  end
  record_set(f, name .. '_seen', s.seen + 1)
  record_set(f, name .. '_hour', hour)
  record_set(f, name .. '_before', decimal(x, 4))
  local is_week = hour - f[name .. '_since'] >= WEEK - 1 and s.seen + 1 >= WEEK_LEAST
  if is_week and not f[name .. '_trend'] then series_begin(f, name, season_key) end
end

local function series_open(f, name, hour, row)
  local expected, week_ago = series_ahead(f, name, hour, row[name]), row[name .. '_last']
  record_set(f, name .. '_expected', expected and decimal(expected, 4))
  record_set(f, name .. '_week_ago', week_ago)
end
