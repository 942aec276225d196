-- Who is there: a ZSET of last heartbeats and a HASH per replica of what it says of itself.
-- Returns the store it decided on at its last beat, or nil when that was too long ago: it was taken for dead.
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
