-- Additive Holt-Winters, one step an hour, a season of the 168 hours of a week (Hyndman, Forecasting, 8.3):
--   L = a (x - S) + (1 - a) (L + T)     T = b (L - L') + (1 - b) T     S = g (x - L) + (1 - g) S
-- a and g are R's starting values; its b of 0.1 is for longer steps: an hour's trend is small against its noise. b is 0
-- until two seasons are seen, because a trend cannot be distinguished from a season before; g is that of a plain mean
-- while there are few seasons to take one of.
local WEEK, HOLT_LEVEL, HOLT_TREND, HOLT_SEASON = 168, 0.3, 0.01, 0.1

-- `s`: level, trend and the number of observed hours; `hours`: since the last observed one; `season`: nil for an hour
-- that was never observed before, which shows its season alone. Returns level, trend, season.
local function holt_step(s, x, season, hours)
  local expected = s.level + s.trend * hours
  if not season then return expected, s.trend, x - expected end
  local level = HOLT_LEVEL * (x - season) + (1 - HOLT_LEVEL) * expected
  local seasons, trend = math.floor(s.seen / WEEK), 0
  if seasons >= 2 then
    trend = HOLT_TREND * (level - s.level) / math.max(1, hours) + (1 - HOLT_TREND) * s.trend
  end
  return level, trend, season + math.max(HOLT_SEASON, 1 / (1 + seasons)) * (x - level - season)
end

local function holt_ahead(s, season, hours)
  return math.max(0, s.level + s.trend * hours + season)
end
