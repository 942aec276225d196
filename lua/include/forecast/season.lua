--- @include "store/number"
--- @include "forecast/holt_winters"
-- One record per hour of a week: `season:<id>`, a STRING of 168 x 4 signed 32-bit hundredths (2688 bytes, in full
-- length from the start). For arrivals a minute, then for latency in ms: the seasonal part S, and 1 + the last value of
-- that hour. Hour 0 of the week is Thursday, 0:00 UTC, as of 1970.
local SEASON_CELLS, SEASON_UNIT, SEASON_MOST = 4, 100, 2 ^ 31 - 1

-- `cell`: 0 S of arrivals, 1 their last value, 2 and 3 the same of latency.
local function season_place(hour, cell)
  return '#' .. (hour % WEEK) * SEASON_CELLS + cell
end

-- Reads the four values of each hour.
local function season_read(key, hour, hours)
  local reads, rows = {}, {}
  for k = 0, hours - 1 do
    for cell = 0, SEASON_CELLS - 1 do
      local n = #reads
      reads[n + 1], reads[n + 2], reads[n + 3] = 'GET', 'i32', season_place(hour + k, cell)
    end
  end
  local values = redis.call('BITFIELD', key, unpack(reads))
  for k = 0, hours - 1 do
    local function value(cell) return values[k * SEASON_CELLS + cell + 1] end
    local function last(cell) return value(cell) > 0 and (value(cell) - 1) / SEASON_UNIT or nil end
    rows[k] = { arrivals = value(0) / SEASON_UNIT, arrivals_last = last(1), latency = value(2) / SEASON_UNIT,
      latency_last = last(3) }
  end
  return rows
end

local function season_word(value, more)
  return string.format('%d', clamp(round(value * SEASON_UNIT) + more, -SEASON_MOST, SEASON_MOST))
end

-- `first`: the cell of S; a nil value changes nothing. The last cell of all is named so that the string has its full
-- length.
local function season_write(key, hour, first, season, last)
  local words = { 'OVERFLOW', 'SAT', 'INCRBY', 'i32', season_place(WEEK - 1, SEASON_CELLS - 1), 0 }
  local function set(cell, word)
    local n = #words
    words[n + 1], words[n + 2], words[n + 3], words[n + 4] = 'SET', 'i32', season_place(hour, cell), word
  end
  if season then set(first, season_word(season, 0)) end
  if last then set(first + 1, season_word(last, 1)) end
  redis.call('BITFIELD', key, unpack(words))
end
