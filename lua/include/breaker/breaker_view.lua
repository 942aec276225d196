--- @include "store/number"
--- @include "breaker/last_error"
-- The breakers as a replica keeps them, to restore a store that lost its state, and to log. For each deployment (keys
-- from `first` on, every other one) that ever moved, cools or is limited: position from 1, state, generation, ms until
-- it ends by itself or 0, trips, reason, ms that it cools, ms of its rate limit that are used up, the last error where
-- it is open.
local function breakers_moved(keys, first, now)
  local moved = {}
  for k = first, #keys, 2 do
    local b = redis.call('HMGET', keys[k], 'state', 'generation', 'open_until_ms', 'trips', 'open_reason',
      'cool_until_ms', 'arrival_at_ms')
    local generation, remaining_ms = tonumber(b[2] or 0), b[3] and math.max(1, tonumber(b[3]) - now) or 0
    local cool_ms, used_ms = math.max(0, (b[6] or now) - now), math.max(0, math.floor((b[7] or now) - now))
    if generation > 0 or cool_ms > 0 or used_ms > 0 then
      local words
      if b[1] == 'open' then words = select(2, last_error_read(keys[k])) end
      for _, value in ipairs({ (k - first) / 2 + 1, b[1], generation, remaining_ms, tonumber(b[4] or 0), b[5] or '',
        cool_ms, used_ms, words or '' }) do moved[#moved + 1] = value end
    end
  end
  return moved
end
