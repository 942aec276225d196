--- @include "budget/reservation"
-- Ends the reservations of expired leases before those are swept: the cost of their calls stays unknown. Returns how
-- far may be swept.
local RESERVATIONS_ENDED = 500

local function reservations_expire(global_key, leases_key, now)
  local expired = redis.call('ZRANGEBYSCORE', leases_key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, RESERVATIONS_ENDED)
  for k = 1, #expired, 2 do reservation_end(global_key, expired[k], -1) end
  -- The rest go with the next heartbeat.
  return #expired < 2 * RESERVATIONS_ENDED and now or tonumber(expired[#expired]) - 1
end
