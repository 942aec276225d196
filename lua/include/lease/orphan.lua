--- @include "lease/lease"
-- A replica may die before its first heartbeat reaches a store that has lost its state: no replica would miss it, and
-- its leases would last until they expire. An unknown replica with one of the oldest leases is noted as silent since
-- then, so that it is found dead. `beats`: the last heartbeat of each replica.
local ORPHANS_SEEN = 64

local function orphans_note(replicas_key, leases_key, beats, before_ms)
  local old = redis.call('ZRANGEBYSCORE', leases_key, '-inf', before_ms, 'WITHSCORES', 'LIMIT', 0, ORPHANS_SEEN)
  for k = 1, #old, 2 do
    local owner = lease_owner(old[k])
    if owner and not beats[owner] then
      beats[owner] = tonumber(redis.call('ZSCORE', replicas_key, owner) or 0)
      if beats[owner] == 0 then redis.call('ZADD', replicas_key, math.floor(old[k + 1]), owner) end
    end
  end
end
