-- The only source of time: the store's clock in ms. Tests replace this include by a settable clock.
local function clock_ms(_global_key)
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
