-- The store's time as people name it, in UTC: the hour, day or month that a moment is in, and when it ends.
local HOUR_MS, DAY_MS = 3600000, 86400000

-- From 1970 to the first day of a year.
local function calendar_days_before(year)
  local y = year - 1
  return 365 * (year - 1970) + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400) - 477
end

-- Year, month, day, and how many days the month has.
local function calendar_date(days)
  local year = 1970 + math.floor(days / 365.2425)
  if calendar_days_before(year) > days then year = year - 1 end
  if calendar_days_before(year + 1) <= days then year = year + 1 end
  local first = calendar_days_before(year)
  local day, february = days - first + 1, calendar_days_before(year + 1) - first - 337
  for month, length in ipairs({ 31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }) do
    if day <= length then return year, month, day, length end
    day = day - length
  end
end

-- Its name, and its end in ms; nil for the one that never ends.
local function calendar_period(per, now)
  if per == 'total' then return 'total', nil end
  local days, hours = math.floor(now / DAY_MS), math.floor(now / HOUR_MS)
  local year, month, day, length = calendar_date(days)
  local name = string.format('%04d-%02d', year, month)
  if per == 'month' then return name, (days - day + 1 + length) * DAY_MS end
  name = string.format('%s-%02d', name, day)
  if per == 'day' then return name, (days + 1) * DAY_MS end
  return string.format('%sT%02d', name, hours % 24), (hours + 1) * HOUR_MS
end
