-- The store's time as people name it, in UTC: the name of the hour, day or month that a moment is in, and its end in
-- ms; no end for 'total'. One function, as in `budget`: the others are made only where they are needed.
local function calendar_period(per, now)
  if per == 'total' then return 'total', nil end
  local HOUR_MS, DAY_MS = 3600000, 86400000
  local function days_before(year)  -- from 1970 to its first day
    local y = year - 1
    return 365 * (year - 1970) + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400) - 477
  end

  local days, hours = math.floor(now / DAY_MS), math.floor(now / HOUR_MS)
  local year, month = 1970 + math.floor(days / 365.2425), 1
  if days_before(year) > days then year = year - 1 end
  if days_before(year + 1) <= days then year = year + 1 end
  local day, february = days - days_before(year) + 1, days_before(year + 1) - days_before(year) - 337
  local lengths = { 31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
  while day > lengths[month] do
    day, month = day - lengths[month], month + 1
  end
  local name = string.format('%04d-%02d', year, month)
  if per == 'month' then return name, (days - day + 1 + lengths[month]) * DAY_MS end
  name = string.format('%s-%02d', name, day)
  if per == 'day' then return name, (days + 1) * DAY_MS end
  return string.format('%sT%02d', name, hours % 24), (hours + 1) * HOUR_MS
end
