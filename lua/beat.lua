--- @include "store/domain"
--- @include "store/policy"
--- @include "store/random"
--- @include "breaker/breaker"
--- @include "breaker/breaker_view"
--- @include "lease/lease"
--- @include "breaker/overdue"
--- @include "breaker/probe"
--- @include "lease/orphan"
--- @include "lease/expire"
--- @include "store/replica"
--- @include "store/era"
--- @include "breaker/outcomes"
--- @include "shed/shed"
--- @include "store/event"
-- A replica's heartbeat. Marks those of its streams whose first byte has arrived. The first beat of each second in the
-- cluster judges what only time shows: hung deployments and the share of healthy ones.
--
-- KEYS  1 global HASH, 2 policy STRING (JSON), 3 leases ZSET, 4 window STRING, 5 events STREAM, 6 replicas ZSET,
--       7 replica HASH (this one), then per deployment: deployment HASH, leases ZSET
-- ARGV  1 epoch to set if none, 2 replica, 3 address, 4 version, 5 started_at_ms, 6 draining (0 | 1 | gone),
--       7 dead_after_ms, 8 seed, 9 store it decides on (shared | standby), 10 why, empty once reported,
--       11 its deployments (ids with commas between), 12 fingerprint of its own file, 13 secret to set if none,
--       then (deployment position from 1, token) per stream answered since the last beat
-- reply epoch, sequence, now_ms, policy version or 0, active, replicas alive, should_shed reasons,
--       known (0 | 1: it was not taken for dead), { dead replicas ... }, { deployment position from 1,
--       state, generation, ms until it ends by itself or 0, trips, reason, ms that it cools, ms of its rate limit that
--       are used up ... of each that ever moved, cools or is limited }, version of the tenants,
--       fingerprint of the policies, secret of the pins' hashes
local global_key, policy_key, leases_key, window_key, events_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local replicas_key, replica_key, FIRST = KEYS[6], KEYS[7], 8
local epoch, replica, dead_after_ms, random = ARGV[1], ARGV[2], tonumber(ARGV[7]), random_from(tonumber(ARGV[8]))
local EVALUATE_EVERY_MS = 900

local policy, domain = policy_read(policy_key), domain_read(global_key)
if domain_foreign(domain) then return domain_foreign(domain) end
local now, transitions, changed, beats = domain.now, {}, {}, {}
beats[replica] = now

for k = 14, #ARGV, 2 do
  local own = FIRST + 2 * (tonumber(ARGV[k]) - 1)
  local leases = KEYS[own + 1]
  local score = tonumber(redis.call('ZSCORE', leases, ARGV[k + 1]) or nil)
  if score and not lease_is_answered(score) then
    redis.call('ZADD', leases, 'XX', score + LEASE_ANSWERED, ARGV[k + 1])
    if lease_is_probe(score) then probe_answer(KEYS[own], score, now) end
  end
end
domain_advance(domain, epoch)
if not domain.affinity_secret then record_set(domain, 'affinity_secret', ARGV[13]) end
local active = redis.call('ZCOUNT', leases_key, '(' .. string.format('%d', now), '+inf')
if policy and now - (domain.evaluated_at_ms or 0) >= EVALUATE_EVERY_MS then
  local counted, healthy = 0, 0
  lease_sweep(leases_key, reservations_expire(global_key, leases_key, now))
  for k = FIRST, #KEYS, 2 do
    local d = deployment_read(KEYS[k])
    if d.config_version and d.state ~= 'disabled' then
      lease_sweep(KEYS[k + 1], now - d.lease_ms)
      orphans_note(replicas_key, KEYS[k + 1], beats, now - dead_after_ms - 1)
      local is_stale = now - (d.refreshed_at_ms or now) >= SLICES * SLICE_MS
      if is_stale and (d.requests or 0) > 0 then health_refresh(d, window_read('', now), now) end
      local own_active = deployment_active(KEYS[k + 1], d, now)
      if own_active ~= (d.active or 0) then record_set(d, 'active', own_active) end
      if d.state == 'closed' and policy.breaker_enabled
        and overdue_is_hung(d, policy, KEYS[k + 1], own_active, replicas_key, beats, now) then
        transitions[#transitions + 1] = breaker_open(d, policy, now, 'overdue', random)
      end
      counted = counted + 1
      if health_is_good(d, policy, now) then healthy = healthy + 1 end
      changed[#changed + 1] = d
    end
  end
  record_set(domain, 'healthy_ratio', decimal(counted > 0 and healthy / counted or 1, 3))
  record_set(domain, 'evaluated_at_ms', now)
  outcomes_refresh(domain, window_key, EVALUATE_EVERY_MS)
  transitions[#transitions + 1] = shed_change(domain, shed_reasons(domain, policy, active), 'beat')
end

for _, d in ipairs(changed) do record_write(d) end
if ARGV[6] == 'gone' then era_forget(domain, replica) end
record_write(domain)
events_add(events_key, domain, transitions)
local store, before = ARGV[9], replica_beat(replicas_key, replica_key, replica, now, dead_after_ms)
local is_switch = store ~= (before or 'shared') and (store == 'shared' or ARGV[10] ~= '')
if is_switch then event_add(events_key, domain, replica, before or 'shared', store, ARGV[10], 0) end
if ARGV[6] == 'gone' then
  replica_leave(replicas_key, replica_key, replica)
else
  replica_show(replica_key, dead_after_ms, { 'address', ARGV[3], 'version', ARGV[4], 'started_at_ms', ARGV[5],
    'draining', ARGV[6], 'store', store, 'deployments', ARGV[11],
    'behind', (policy and policy.fingerprint or ARGV[12]) == ARGV[12] and 0 or 1 })
end
local dead = replica_dead(replicas_key, KEYS, FIRST, now, dead_after_ms)
local alive = redis.call('ZCOUNT', replicas_key, now - dead_after_ms, '+inf')
return { domain.epoch, domain.sequence, now, policy and policy.version or 0, active, alive, domain.shed_reasons or '',
  before and 1 or 0, dead, breakers_moved(KEYS, FIRST, now), domain.tenants_version or 0,
  policy and policy.fingerprint or '', domain.affinity_secret }
