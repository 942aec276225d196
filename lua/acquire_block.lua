--- @library "decisions"
--- @include "store/domain"
--- @include "store/policy"
--- @include "store/random"
--- @include "select/candidate"
--- @include "select/tier"
--- @include "shed/shed_reject"
--- @include "shed/retry_budget"
--- @include "breaker/outcomes"
--- @include "lease/block"
--- @include "store/era"
--- @include "store/event"
-- Grants a block: the leases that N first attempts of one kind would get if they came now, one lease each. The block
-- ends at the first attempt that would be refused. Idempotent by its tokens when resent. Guarantees: as in acquire, no
-- grant while active >= limit. It grants no probe, moves no breaker and refuses no request: where a probe is free,
-- requests wait, a deployment counts tokens or the first attempt would be refused, it grants nothing, and acquire must
-- decide.
--
-- KEYS  1 global HASH, 2 policy STRING (JSON), 3 leases ZSET, 4 window STRING, 5 events STREAM,
--       then per candidate: deployment HASH, leases ZSET, window STRING; with regions rtt:<region> HASH
-- ARGV  1 strategy, 2 tiers ('0,0,1', one per candidate), 3 epoch to set if none, 4 priority (0..100), 5 seed (31-bit),
--       6 hold_ms (the last may be handed out so long after the grant), 7 resend (0 | 1 | 2: if granted), 8 kind of
--       calls ('' unknown), then the tokens, of one tenant; last: era
-- reply 'granted' | 'none', why none, sequence, epoch, now_ms; granted: per token position, generation (0, 0: none)
--       'unconfigured' when policy or a deployment is unknown here
local global_key, policy_key, leases_key, window_key, events_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local strategy, tiers, epoch, priority = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local random = random_from(tonumber(ARGV[5]))
local hold_ms, resend, kind = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local era, tokens = tonumber(ARGV[#ARGV]), {}
for k = 9, #ARGV - 1 do tokens[#tokens + 1] = ARGV[k] end
local replica, OUTCOMES_FRESH_MS = lease_owner(tokens[1]) or '', 250

local domain = domain_read(global_key)
local policy, now = policy_read(policy_key, domain), domain.now
if not policy then return { 'unconfigured' } end
local function answer(code, why, rows)
  return { code, why, domain.sequence or 0, domain.epoch or epoch, now, unpack(rows or {}) }
end
if era_is_over(domain, replica, era) then return answer('none', 'overtaken') end
if resend > 0 then
  local rows, found = block_find(KEYS, 6, tokens, hold_ms)
  if found > 0 then
    domain_advance(domain, epoch)
    era_note(domain, replica, era)
    record_write(domain)
    return answer('granted', '', rows)
  end
  if resend == 2 then return answer('none', 'not_granted') end
end

local active = redis.call('ZCOUNT', leases_key, '(' .. string.format('%d', now), '+inf')
outcomes_refresh(domain, window_key, OUTCOMES_FRESH_MS)
local reasons = shed_reasons(domain, policy, active)
local candidates = candidates_read(KEYS, 6, tiers, policy, domain, 0, kind, true)
if not candidates then return { 'unconfigured' } end
local is_exact = (domain.waiting_until_ms or 0) > now
for _, c in ipairs(candidates) do
  is_exact = is_exact or c.suspect_ms or c.becomes == 'open' or c.deployment.tpm
    or (c.probe and c.verdict == 'eligible')
end
local rows, budget, granted = {}, retry_budget(domain, policy, 0), 0
for k = 1, #tokens do
  local is_over = is_exact or granted < k - 1
    or shed_reject(domain, policy, reasons, active + granted, priority, random)
  local c = not is_over and tier_pick(candidates, policy, strategy, now, random)
  rows[2 * k - 1], rows[2 * k] = c and c.position or 0, c and c.deployment.generation or 0
  if c then
    granted, budget = k, math.min(RETRY_TOKENS_MOST, budget + policy.retry_ratio)
    c.tokens = c.tokens or {}
    c.tokens[#c.tokens + 1], c.active = tokens[k], c.active + 1
    c.deployment.arrival_at_ms = c.arrival_at_ms
    for _, each in ipairs(candidates) do
      if each.turn and c.turn then each.deployment.current_weight, each.turn_at = each.turn, each.turn end
    end
    admit(c, policy, now, 0, kind)
    score_all(candidates, policy, now)
  end
end

if granted == 0 then return answer('none', is_exact and 'exact' or 'refused') end
domain_advance(domain, epoch)
era_note(domain, replica, era)
retry_take(domain, budget)
local change = shed_change(domain, reasons, 'acquire')
for _, c in ipairs(candidates) do
  local d = c.deployment
  if c.turn_at then record_set(d, 'current_weight', exact(c.turn_at)) end
  if c.tokens then
    record_set(d, 'active', c.active)
    if d.rpm then record_set(d, 'arrival_at_ms', decimal(d.arrival_at_ms, 3)) end
    block_add(leases_key, c.leases_key, c.tokens, now, hold_ms, d.lease_ms)
  end
  record_write(d)
end
record_write(domain)
events_add(events_key, domain, { change })
kept_put(domain)
return answer('granted', '', rows)
