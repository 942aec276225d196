-- The leases of one tenant, `tenant_leases:<name>`, by their expiry as those of the domain; the anonymous one has none.
-- The key is built here: the replica that ends a lease, its own or another's, knows the tenant from the token alone.
local function tenant_lease_key(domain_leases, token)
  local blank = string.find(token, ' ', 1, true)
  return blank and string.gsub(domain_leases, 'leases$', 'tenant_leases:') .. string.sub(token, blank + 1)
end

local function tenant_lease_add(domain_leases, token, now, lease_ms)
  local key = tenant_lease_key(domain_leases, token)
  if not key then return end
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  redis.call('ZADD', key, now + lease_ms, token)
  -- Another deployment's calls may last longer: their leases must not expire with this one.
  local last_ms = tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
  redis.call('PEXPIRE', key, math.ceil(last_ms - now))
end

local function tenant_lease_remove(domain_leases, token)
  local key = tenant_lease_key(domain_leases, token)
  if key then redis.call('ZREM', key, token) end
end

local function tenant_lease_active(domain_leases, token, now)
  local key = tenant_lease_key(domain_leases, token)
  return key and redis.call('ZCOUNT', key, '(' .. string.format('%d', now), '+inf') or 0
end
