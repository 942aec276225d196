--- @include "domain"
--- @include "policy"
--- @include "random"
--- @include "candidate"
--- @include "probe"
--- @include "tier"
--- @include "shed"
--- @include "retry_budget"
--- @include "outcomes"
--- @include "lease"
--- @include "era"
--- @include "event"
-- Grants one lease on one of the candidates, or says why not. Atomic, and idempotent by its token when resent.
-- Guarantees: no grant while active >= limit; outstanding probes of a half-open generation <= `probes`.
--
-- KEYS  1 global HASH, 2 policy STRING (JSON), 3 leases ZSET, 4 window STRING, 5 events STREAM,
--       then per candidate: deployment HASH, leases ZSET, window STRING
-- ARGV  1 strategy, 2 tiers ('0,0,1', one per candidate), 3 epoch to set if none, 4 token, 5 priority (0..100),
--       6 seed (31-bit), 7 attempt (from 1; 0: another candidate, none has failed), 8 resend (0 | 1 | 2: only granted),
--       9 era of the call
-- reply granted: 'granted', position, generation, probe (0 | 1), sequence, epoch, now_ms
--       no:      'shed' | 'retry_budget' | 'none', reason, retry_after_ms, sequence, epoch, now_ms, verdict ...
--       'unconfigured' when policy or a deployment is unknown here
local global_key, policy_key, leases_key, window_key, events_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local strategy, tiers, epoch, token, seed = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[6])
local priority, attempt, resend = tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[8])
local replica, era = lease_owner(token) or '', tonumber(ARGV[9])
local OUTCOMES_FRESH_MS = 250

local policy, domain = policy_read(policy_key), domain_read(global_key)
local now, random, transitions = domain.now, random_from(seed), {}
if not policy then return { 'unconfigured' } end
if era_is_over(domain, replica, era) then
  return { 'none', 'overtaken', 0, domain.sequence, domain.epoch, now }
end

-- A resent call that was granted the first time gets the same grant, before any check that it could fail by now.
for k = resend > 0 and 6 or #KEYS + 1, #KEYS, 3 do
  local start = tonumber(redis.call('ZSCORE', KEYS[k + 1], token) or nil)
  local d = start and deployment_read(KEYS[k])
  if d and d.config_version and math.floor(start) + d.lease_ms > now then
    local generation, is_probe = lease_generation(d, start), lease_is_probe(start) and 1 or 0
    domain_advance(domain, epoch)
    era_note(domain, replica, era)
    record_write(domain)
    return { 'granted', (k - 3) / 3, generation, is_probe, domain.sequence, domain.epoch, now }
  end
end
if resend == 2 then return { 'none', 'not_granted', 0, domain.sequence or 0, domain.epoch or epoch, now } end

local active = redis.call('ZCOUNT', leases_key, '(' .. string.format('%d', now), '+inf')
outcomes_refresh(domain, window_key, OUTCOMES_FRESH_MS)
local reasons = shed_reasons(domain, policy, active)
-- A further attempt belongs to a request that is already in: it is bounded by the retry budget, not shed.
local shed = attempt == 1 and shed_reject(domain, policy, reasons, active, priority, random)
local budget = not shed and retry_budget(domain, policy, attempt)
local candidates, picked = {}, nil
if not shed and budget then
  candidates = candidates_read(KEYS, 6, tiers, policy, now)
  if not candidates then return { 'unconfigured' } end
  picked = tier_pick(candidates, policy, strategy, now, random)
end

domain_advance(domain, epoch)
era_note(domain, replica, era)
if reasons ~= (domain.shed_reasons or '') then
  transitions[1] = { subject = 'load_shedding', from = domain.shed_reasons or '', to = reasons, reason = 'acquire',
    generation = 0 }
  record_set(domain, 'shed_reasons', reasons)
end
for _, c in ipairs(candidates) do
  if c.becomes == 'open' then
    transitions[#transitions + 1] = breaker_open(c.deployment, policy, now, 'probe_deadline', random)
    c.wait_ms = c.deployment.open_until_ms - now
  end
  if picked and picked.turn and c.turn then record_set(c.deployment, 'current_weight', decimal(c.turn, 3)) end
end
local reply
if picked then
  local d = picked.deployment
  if picked.becomes == 'half_open' then transitions[#transitions + 1] = breaker_half_open(d, now) end
  if picked.probe then probe_issue(d, now) end
  if picked.arrival_at_ms then record_set(d, 'arrival_at_ms', decimal(picked.arrival_at_ms, 3)) end
  record_set(d, 'active', picked.active + 1)
  record_set(domain, 'retry_tokens', decimal(budget, 4))
  record_set(domain, 'retry_at_ms', now)
  lease_add(leases_key, picked.leases_key, token, now, d.lease_ms, picked.probe)
  reply = { 'granted', picked.position, d.generation, picked.probe and 1 or 0, domain.sequence, domain.epoch, now }
else
  local code = shed and 'shed' or (budget and 'none' or 'retry_budget')
  local wait_ms = code == 'none' and candidates_wait_ms(candidates) or SHED_RETRY_AFTER_MS
  reply = { code, shed or code, wait_ms, domain.sequence, domain.epoch, now }
  for _, c in ipairs(candidates) do reply[#reply + 1] = c.verdict end
  -- Attempts were made and there is no further one: the request has failed for good.
  if attempt > 1 then window_add(window_key, now, { calls = 1, failures = 1 }) end
end
for _, c in ipairs(candidates) do record_write(c.deployment) end
record_write(domain)
events_add(events_key, domain, transitions)
return reply
