-- The only source of time: the store's clock in ms, never running back behind the recorded one.
-- Tests replace this include by a settable clock.
local function clock_now(_global_key, recorded_ms)
  local time = redis.call('TIME')
  return math.max(time[1] * 1000 + math.floor(time[2] / 1000), recorded_ms)
end
