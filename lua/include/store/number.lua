-- Number formats that stay readable in redis-cli: 17 digits only where nothing may be lost.
local unpack = unpack or table.unpack

local function clamp(value, low, high)
  if value < low then return low end
  return value > high and high or value
end

local function round(value)
  return math.floor(value + 0.5)
end

-- The fewest digits that read back as the same number.
local function exact(value)
  local short = string.format('%.15g', value)
  return tonumber(short) == value and short or string.format('%.17g', value)
end

local FORMATS = { [0] = '%.0f', '%.1f', '%.2f', '%.3f', '%.4f', '%.5f', '%.6f' }  -- by decimal places

local function decimal(value, digits)
  return string.format(FORMATS[digits], value)
end
