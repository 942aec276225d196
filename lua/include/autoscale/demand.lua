--- @include "limit/adaptive"
-- The load of the replicas: active requests, requests that wait in the replicas' queues, and how many requests the
-- deployments with closed breakers can serve at once.
local function demand_active(leases_key, now)
  return redis.call('ZCOUNT', leases_key, '(' .. string.format('%d', now), '+inf')
end

-- Adds up a field of the living replicas' last reports, except that of `own_key`: `waiting`, requests in its queues, or
-- `elsewhere`, active ones in other domains.
local function demand_told(field, replicas_key, own_key, since_ms)
  local prefix, sum = string.gsub(replicas_key, 'replicas$', 'replica:'), 0
  for _, replica in ipairs(redis.call('ZRANGEBYSCORE', replicas_key, since_ms, '+inf')) do
    local key = prefix .. replica
    if key ~= own_key then sum = sum + (tonumber(redis.call('HGET', key, field) or nil) or 0) end
  end
  return sum
end

local function demand_limit(keys, first)
  local sum = 0
  for k = first, #keys do
    local d = record_read(keys[k], { 'state', 'limit', 'adapted' })
    if d.limit and d.state == 'closed' then sum = sum + adapt_limit(d) end
  end
  return sum
end
