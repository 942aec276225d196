-- Number shapes that stay readable in redis-cli: no 17-digit floats in hashes.
local unpack = unpack or table.unpack

local function clamp(value, low, high)
  return math.max(low, math.min(high, value))
end

local function round(value)
  return math.floor(value + 0.5)
end

local function decimal(value, digits)
  return string.format('%.' .. digits .. 'f', value)
end
