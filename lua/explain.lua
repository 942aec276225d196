--- @flag "no-writes"
--- @include "store/domain"
--- @include "store/policy"
--- @include "store/random"
--- @include "select/candidate"
--- @include "select/tier"
--- @include "select/last_resort"
--- @include "budget/afford"
--- @include "shed/shed_reject"
--- @include "affinity/note"
-- Read-only dry run of `acquire`: the same includes decide, nothing is written.
--
-- KEYS  1 global HASH, 2 policy STRING (JSON), 3 leases ZSET,
--       then per candidate: deployment HASH, leases ZSET, window STRING; with regions rtt:<region> HASH
-- ARGV  1 strategy, 2 tiers, 3 priority (0..100), 4 seed (31-bit), 5 tenant, 6 budgets and costs as in `budget`, or '',
--       7 kind of call ('' unknown), 8 restriction as in acquire, 9 keyed hashes of its pins, or ''
-- reply shed reason or '', position picked or 0, `affinity_word`, then per candidate: verdict, tier, state, active,
--       limit, wait_ms, health, score (both as decimals), region, round trip in ms (or '')  |  'unconfigured'
local strategy, tiers, priority, random = ARGV[1], ARGV[2], tonumber(ARGV[3]), random_from(tonumber(ARGV[4]))
local policy, domain = policy_read(KEYS[2]), domain_read(KEYS[1])
local now = domain.now
local candidates = policy and candidates_read(KEYS, 4, tiers, policy, domain, 0, ARGV[7], false, ARGV[8])
if not candidates then return { 'unconfigured' } end

local active = redis.call('ZCOUNT', KEYS[3], '(' .. string.format('%d', now), '+inf')
local shed = shed_reject(domain, policy, shed_reasons(domain, policy, active), active, priority, random)
if ARGV[6] ~= '' then
  budgets_apply(budgets_read(KEYS[1], 'nobody.plain.0 ' .. ARGV[5], ARGV[6], 0, now), candidates, now)
end
candidates.pins = pins_read(domain, policy, ARGV[9], now)
local picked = not shed and (tier_pick(candidates, policy, strategy, now, random)
  or resort_pick(candidates, policy, tiers, now, { tokens = 0 }))
if candidates.rtt_key then
  region_rtts(candidates, candidates.rtt_key)
  for _, c in ipairs(candidates) do
    -- Passed over, because a nearer one of its tier has room.
    local is_farther = picked and c.away and c.tier == picked.tier and (c.ring or 1) > (picked.ring or 0)
    if is_farther and c.verdict == 'eligible' then c.verdict = 'remote' end
  end
end
local word = picked and affinity_word(candidates, picked, 1) or 'none'
local reply = { shed or '', picked and picked.position or 0, word }
for _, c in ipairs(candidates) do
  for _, value in ipairs({ c.verdict, c.tier, c.state, c.active, c.limit, math.ceil(c.wait_ms or 0),
    decimal(c.health, 1), decimal(c.score, 1), c.deployment.region or '', tostring(c.rtt_ms or '')
  }) do reply[#reply + 1] = value end
end
return reply
