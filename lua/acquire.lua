--- @library "decisions"
--- @include "store/policy"
--- @include "store/random"
--- @include "select/candidate"
--- @include "select/tier"
--- @include "select/last_resort"
--- @include "tenant/tenant_admit"
--- @include "budget/afford"
--- @include "shed/shed_reject"
--- @include "shed/retry_budget"
--- @include "breaker/outcomes"
--- @include "lease/resend"
--- @include "select/grant"
--- @include "affinity/note"
--- @include "limit/waiting"
--- @include "store/era"
--- @include "store/event"
--- @include "select/verdict"
-- Grants one lease on one of the candidates, or returns the reason for none. Atomic, and idempotent by its token when
-- resent. Guarantees: no grant while active >= limit; outstanding probes of a half-open generation <= `probes`.
--
-- KEYS  1 global HASH, 2 policy STRING (JSON), 3 leases ZSET, 4 window STRING, 5 events STREAM,
--       then per candidate: deployment HASH, leases ZSET, window STRING; with regions rtt:<region> HASH
-- ARGV  1 strategy, 2 tiers ('0,0,1', one per candidate; '+' after them: more follow), 3 epoch to set if none,
--       4 token, 5 priority (0..100), 6 seed (31-bit), 7 attempt (from 1; 0: another candidate, none has failed),
--       8 tokens (estimated), limits of the tenant (0 none): 9 requests, 10 tokens a minute, 11 requests at a time;
--       12 its weight, 13 waiting (0 | 1: in its replica's queue | 2: and more after it), 14 traced (0 | 1),
--       15 budgets and costs as in `budget`, 16 kind of call, 17 restriction as for restrict_apply, 18 its pins' keyed
--       hashes as for pins_read, or ''; 19 resend (0 | 1 | 2: if granted), 20 era
-- reply granted: 'granted', position, generation, probe (as grant_code), sequence, epoch, now_ms, requests_used_ms,
--                tokens_used_ms (of the tenant's minute), with pins `affinity_word`; traced: verdict=score ...
--       no:      'shed' | 'retry_budget' | 'limited' | 'none' (reason `owned`: the owner is a candidate) | 'owner'
--                (reason: its id; it is no candidate) | 'over_budget' (reason: whose, 0 ms: until an operator raises
--                it), reason, retry_after_ms, sequence, epoch, now_ms, requests_used_ms, tokens_used_ms, verdict ...
--       'unconfigured' when policy or a deployment is unknown here
local global_key, policy_key, leases_key, window_key, events_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local strategy, tiers, epoch, token, seed = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[6])
local priority, attempt, resend, era = tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[19]), tonumber(ARGV[20])
local replica, OUTCOMES_FRESH_MS = lease_owner(token) or '', 250
local domain = domain_read(global_key)
local policy = policy_read(policy_key, domain)
local now, random, transitions = domain.now, random_from(seed), {}
local ask = tenant_ask(ARGV, leases_key, now)
if not policy then return { 'unconfigured' } end
local function refused(why) return { 'none', why, 0, domain.sequence or 0, domain.epoch or epoch, now, 0, 0 } end
if era_is_over(domain, replica, era) then return refused('overtaken') end
-- A resent call that was granted the first time gets the same grant, before any check that it could fail by now.
local again = resend > 0 and resend_reply(KEYS, 6, token, epoch, domain, era, ask)
if again then return again end
if resend == 2 then return refused('not_granted') end
local active = redis.call('ZCOUNT', leases_key, '(' .. string.format('%d', now), '+inf')
outcomes_refresh(domain, window_key, OUTCOMES_FRESH_MS)
local reasons = shed_reasons(domain, policy, active)
-- A further attempt belongs to an admitted request: the retry budget bounds it, and it is not shed.
local shed = attempt == 1 and shed_reject(domain, policy, reasons, active, priority, random)
local budget = not shed and retry_budget(domain, policy, attempt)
local tenant, limited, limited_ms = tenant_read(global_key, token, ask), nil, nil
if not shed then limited, limited_ms = tenant_refuse(tenant, ask, leases_key, token, now) end
local candidates, picked, reply, over, over_ms = {}, nil, nil, nil, nil
local budgets = ARGV[15] ~= '' and budgets_read(global_key, token, ARGV[15], resend, now)
if not shed and budget and not limited then
  candidates = candidates_read(KEYS, 6, tiers, policy, domain, ask.tokens, ask.kind, attempt == 1, ARGV[17])
  if not candidates then return { 'unconfigured' } end
  fair_apply(candidates, ask, now)
  if budgets then over, over_ms = budgets_apply(budgets, candidates, now) end
  candidates.pins = pins_read(domain, policy, ask.pins, now)
  picked = tier_pick(candidates, policy, strategy, now, random)
    or resort_pick(candidates, policy, tiers, now, ask)
end
domain_advance(domain, epoch)
era_note(domain, replica, era)
transitions[1] = shed_change(domain, reasons, 'acquire')
candidates_note(candidates, picked, policy, now, random, transitions)
if picked then
  local d = picked.deployment
  if picked.becomes == 'half_open' then transitions[#transitions + 1] = breaker_half_open(d, now, 'cooldown_over') end
  grant_note(picked, ask, now)
  tenant_take(tenant, now)
  retry_take(domain, budget)
  if budgets then budgets_take(budgets, global_key, token, picked.position) end
  lease_add(leases_key, picked.leases_key, token, now, d.lease_ms, picked.probe, picked.resort)
  reply = { 'granted', picked.position, d.generation, grant_code(picked.probe, picked.resort, candidates.owner),
    domain.sequence, domain.epoch, now, tenant_used(tenant, now) }
  if ask.pins ~= '' then reply[10] = affinity_note(domain, policy, candidates, picked, attempt) end
else
  local code, why = refusal_of(candidates, shed, limited, over, budget)
  local wait_ms = limited_ms or over_ms or code == 'none' and candidates_wait_ms(candidates) or SHED_RETRY_AFTER_MS
  reply = { code, why, wait_ms, domain.sequence, domain.epoch, now, tenant_used(tenant, now) }
  waiting_note(candidates, domain, ask)
  if attempt > 1 then window_add(window_key, now, { calls = 1, failures = 1 }) end  -- it has failed for good
end
verdicts_tell(reply, candidates, picked, ask)
for _, c in ipairs(candidates) do record_write(c.deployment) end
record_write(domain)
events_add(events_key, domain, transitions)
kept_put(domain)
return reply
