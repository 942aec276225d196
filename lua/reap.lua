--- @flag "allow-oom"
--- @include "store/domain"
--- @include "store/deployment"
--- @include "breaker/probe"
--- @include "lease/lease"
--- @include "budget/reservation"
--- @include "store/replica"
--- @include "store/era"
--- @include "store/event"
-- Removes the leases of a dead replica from one deployment, a bounded chunk at a time; a reaped probe gives its
-- permit back. Does nothing while the replica's heartbeat is fresh. The last call removes the replica and logs it once.
-- A replica that has been away removes its own leases of the time before, except the live ones: the others have ended.
--
-- KEYS  1 global HASH, 2 leases ZSET, 3 replicas ZSET, 4 replica HASH, 5 deployment HASH, 6 its leases ZSET,
--       7 events STREAM
-- ARGV  1 epoch to set if none, 2 replica, 3 dead_after_ms, 4 offset, 5 chunk, 6 last (0 | 1),
--       7 own: only leases granted before this time (ms), 0 for those of a dead replica, then the tokens to keep
-- reply removed, next offset or -1 when done, the replica's deployments (ids with commas between)
local global_key, leases_key, replicas_key, replica_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local deployment_key, own_leases_key, events_key = KEYS[5], KEYS[6], KEYS[7]
local replica, dead_after_ms, offset, chunk = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local own_before_ms, is_live = tonumber(ARGV[7]), {}
for k = 8, #ARGV do is_live[ARGV[k]] = true end

local domain = domain_read(global_key)
local beat = redis.call('ZSCORE', replicas_key, replica)
if own_before_ms == 0 and beat and tonumber(beat) >= domain.now - dead_after_ms then return { 0, -1, '' } end
local deployments = redis.call('HGET', replica_key, 'deployments') or ''

local d, removed = deployment_read(deployment_key), 0
local members = redis.call('ZRANGE', own_leases_key, offset, offset + chunk - 1, 'WITHSCORES')
local kept = 0
for k = 1, #members, 2 do
  local score = tonumber(members[k + 1])
  local is_old = own_before_ms == 0 or (score < own_before_ms and not is_live[members[k]])
  if is_old and lease_owner(members[k]) == replica then
    lease_remove(leases_key, own_leases_key, members[k])
    reservation_end(global_key, members[k], -1)
    removed = removed + 1
    local is_out = lease_is_probe(score) and not lease_is_judged(score) and not lease_is_resort(score)
    if is_out and d.state == 'half_open' and score >= d.changed_at_ms then probe_give_back(d) end
  else
    kept = kept + 1
  end
end
local done = #members < 2 * chunk
domain_advance(domain, ARGV[1])
if done and ARGV[6] == '1' then era_forget(domain, replica) end
record_write(domain)
record_write(d)
if done and ARGV[6] == '1' then
  replica_leave(replicas_key, replica_key, replica)
  if beat then event_add(events_key, domain, replica, 'alive', 'dead', 'silent', 0) end
end
return { removed, done and -1 or offset + kept, deployments }
