--- @include "tenant/tenant_lease"
-- Active requests are leases, never a counter: a second release has no effect, the leases of a dead replica expire, and
-- ages come for free.
-- The fraction of a lease's score (start in ms) marks it: .5 a probe, .25 its first byte has arrived, .125 a probe
-- whose first content has been judged, .0625 a last resort.
local LEASE_PROBE, LEASE_ANSWERED, LEASE_JUDGED, LEASE_RESORT = 0.5, 0.25, 0.125, 0.0625

local function lease_is_probe(score) return score % 1 >= LEASE_PROBE end

local function lease_is_answered(score) return score % LEASE_PROBE >= LEASE_ANSWERED end

local function lease_is_judged(score) return score % LEASE_ANSWERED >= LEASE_JUDGED end

local function lease_is_resort(score) return score % LEASE_JUDGED >= LEASE_RESORT end

-- Tokens are `replica.kind.number`, the replica's own name may hold dots; then, for a tenant with a name, ` tenant`.
local function lease_owner(token) return string.match(token, '^([^ ]*)%.%a+%.%w+') end

-- Returns the generation in which a lease was granted; for any older one, a number that is not the current one.
local function lease_generation(deployment, start)
  return start >= (deployment.changed_at_ms or 0) and deployment.generation or deployment.generation - 1
end

local function lease_add(domain_leases, leases, token, now, lease_ms, probe, resort)
  redis.call('ZADD', leases, now + (probe and LEASE_PROBE or 0) + (resort and LEASE_RESORT or 0), token)
  redis.call('ZADD', domain_leases, now + lease_ms, token)
  tenant_lease_add(domain_leases, token, now, lease_ms)
end

-- Expired leases never count (every count starts after `now`); the heartbeat removes them, marks and all.
local function lease_sweep(leases, until_ms)
  redis.call('ZREMRANGEBYSCORE', leases, '-inf', '(' .. string.format('%d', until_ms + 1))
end

local function lease_remove(domain_leases, leases, token)
  redis.call('ZREM', domain_leases, token)
  tenant_lease_remove(domain_leases, token)
  return redis.call('ZREM', leases, token) == 1
end
