--- @include "lease/lease"
-- The replicas: a ZSET of last heartbeats and a HASH per replica with its report.
-- Notes a heartbeat. Returns the store in use at the previous one, or nil after too long a silence, which counts as
-- death.
local function replica_beat(replicas_key, replica_key, replica, now, dead_after_ms)
  local last = tonumber(redis.call('ZSCORE', replicas_key, replica) or nil)
  redis.call('ZADD', replicas_key, now, replica)
  if not last or last < now - dead_after_ms then return nil end
  return redis.call('HGET', replica_key, 'store') or 'shared'
end

local function replica_show(replica_key, dead_after_ms, fields)
  redis.call('HSET', replica_key, unpack(fields))
  redis.call('PEXPIRE', replica_key, 10 * dead_after_ms)
end

local function replica_leave(replicas_key, replica_key, replica)
  redis.call('ZREM', replicas_key, replica)
  redis.call('DEL', replica_key)
end

-- Returns replicas silent for `dead_after_ms`. A replica that was granted a lease just now is not dead: it lacks the
-- CPU to beat in time, and counts as last seen at that grant. `keys` from `first` on: (deployment, leases).
local SILENT_MOST, GRANTS_SEEN, GRANTED_MS = 16, 256, 2000

local function replica_dead(replicas_key, keys, first, now, dead_after_ms)
  local before, since, lived, dead = string.format('(%d', now - dead_after_ms), now - GRANTED_MS, {}, {}
  local silent = redis.call('ZRANGEBYSCORE', replicas_key, '-inf', before, 'LIMIT', 0, SILENT_MOST)
  if #silent == 0 then return silent end
  for k = first, #keys, 2 do
    local grants = redis.call('ZRANGE', keys[k + 1], '+inf', since, 'BYSCORE', 'REV', 'LIMIT', 0, GRANTS_SEEN,
      'WITHSCORES')
    for n = 1, #grants, 2 do
      local owner = lease_owner(grants[n]) or ''
      lived[owner] = math.min(now, math.max(lived[owner] or 0, math.floor(tonumber(grants[n + 1]))))
    end
  end
  for _, replica in ipairs(silent) do
    if lived[replica] then
      redis.call('ZADD', replicas_key, 'XX', lived[replica], replica)
    else
      dead[#dead + 1] = replica
    end
  end
  return dead
end
