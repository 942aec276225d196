--- @include "select/select"
--- @include "select/slow_start"
--- @include "affinity/pick"
-- The fallback chain: candidates come in tier order. A half-open candidate with a free probe is picked first, or it
-- would never recover. A group (tier 0; with regions, its local part) is left only while its best health is under
-- `min_health` and a later one scores `fallback_advantage` times better: hysteresis, so that two groups do not take
-- turns.
local function tier_pick(candidates, policy, strategy, now, random)
  local groups = tier_group(candidates)
  if not groups[1] then return nil end
  if groups[1][1].away then groups = tier_group_far(groups, candidates.rtt_key) end
  local home, probing = groups[1], {}
  for _, c in ipairs(home) do
    if c.probe then probing[#probing + 1] = c end
  end
  if #probing > 0 then return probing[math.floor(random() * #probing) + 1] end
  home = slow_start(groups, policy, candidates.rtt_key, random)
  if tier_best(home, 'health') < policy.min_health then
    local bar = policy.fallback_advantage * tier_best(home, 'score')
    if candidates.rtt_key then groups = tier_group_far(groups, candidates.rtt_key) end
    for position = 2, #groups do
      local healthy = {}
      for _, c in ipairs(groups[position]) do
        if not c.probe then healthy[#healthy + 1] = c end
      end
      if #healthy > 0 and tier_best(healthy, 'score') > bar then return select_one(healthy, strategy, now, random) end
    end
  end
  return candidates.pins and affinity_pick(candidates, home, policy, strategy)
    or select_one(home, strategy, now, random)
end
