--- @include "store/domain"
--- @include "breaker/breaker"
--- @include "lease/lease"
--- @include "store/era"
--- @include "breaker/probe"
--- @include "store/event"
-- A replica sends a store the state of one deployment that the store may not know: the replica's live leases, and the
-- breaker as it last saw it. It does so after a flush or a failover, and on the way to and from its standby store.
--
-- Missing leases are added, and a probe of the current generation counts again. If the breaker is
-- closed in the store, a later generation is taken when it is news: the store has seen no more than this replica saw
-- there (what the store has lost, or what happened on the standby meanwhile), or is still learning the first seconds of
-- a new epoch, or is the replica's own. After those seconds a replica that saw another epoch has news only of a breaker
-- that has moved since, on its standby: it may have left before it saw the new epoch. Cooldowns and
-- used-up rate limits continue; missing endpoints of a deployment are not passed on, because one call and its
-- fallback find that out again.
--
-- KEYS  1 global HASH, 2 leases ZSET, 3 events STREAM, 4 deployment HASH, 5 its leases ZSET
-- ARGV  1 epoch to set if none, 2 epoch and 3 generation under which the replica saw the breaker, 4 state,
--       5 generation, 6 ms until it ends by itself (0 never), 7 trips, 8 reason, 9 own (0 | 1),
--       10 ms that it cools, 11 ms of its rate limit that are used up, then (token, age_ms, probe 0 | 1,
--       answered 0 | 1) per lease; last: era of the call
-- reply leases taken, breaker taken (0 | 1), sequence, epoch, now_ms  |  'unconfigured'
local global_key, leases_key, events_key, deployment_key, own_leases_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local epoch, seen_epoch, seen_generation, state = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local generation, remaining_ms, trips, is_own = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[9] == '1'
local cool_ms, used_ms, FIRST, era = tonumber(ARGV[10]), tonumber(ARGV[11]), 12, tonumber(ARGV[#ARGV])
local AGE_SLACK_MS = 100  -- ages are measured by another clock, and travel

local domain, d = domain_read(global_key), deployment_read(deployment_key)
if domain_foreign(domain) then return domain_foreign(domain) end
if not d.config_version then return { 'unconfigured' } end
local now, replica = domain.now, lease_owner(ARGV[FIRST]) or ''
if era_is_over(domain, replica, era) then return { 0, 0, domain.sequence, domain.epoch, now } end
domain_advance(domain, epoch)
era_note(domain, replica, era)

local is_learning = now < (domain.learning_until_ms or 0)
local is_news = d.generation <= seen_generation
if seen_epoch ~= domain.epoch then is_news = is_learning or is_news and generation > seen_generation end
local transition
if (is_own or is_news) and d.state == 'closed' and generation > d.generation then
  -- Permits of that generation are alive: their results count again.
  record_set(d, 'generation', state == 'closed' and generation or generation - 1)
  if state ~= 'closed' then
    transition = breaker_move(d, now, state, 'reasserted')
    record_set(d, 'open_until_ms', remaining_ms > 0 and now + remaining_ms or nil)
    record_set(d, 'open_reason', ARGV[8])
    record_set(d, 'trips', trips)
  end
end
if cool_ms > 0 then record_set(d, 'cool_until_ms', math.max(d.cool_until_ms or 0, now + cool_ms)) end
if used_ms > 0 and d.rpm then record_set(d, 'arrival_at_ms', math.max(d.arrival_at_ms or 0, now + used_ms)) end

local taken = 0
for k = FIRST, #ARGV - 1, 4 do
  local token, start = ARGV[k], now - tonumber(ARGV[k + 1])
  if start + d.lease_ms > now and not redis.call('ZSCORE', own_leases_key, token) then
    local is_probe = ARGV[k + 2] == '1'
    local is_current = is_probe and d.state == 'half_open' and start > d.changed_at_ms - AGE_SLACK_MS
    if is_current then
      start = math.max(start, d.changed_at_ms)
      probe_issue(d, now)
    end
    lease_add(leases_key, own_leases_key, token, start, d.lease_ms, is_probe)
    if ARGV[k + 3] == '1' then redis.call('ZINCRBY', own_leases_key, LEASE_ANSWERED, token) end
    taken = taken + 1
  end
end
record_set(d, 'active', deployment_active(own_leases_key, d, now))
record_write(d)
record_write(domain)
if transition then events_add(events_key, domain, { transition }) end
return { taken, transition and 1 or 0, domain.sequence, domain.epoch, now }
