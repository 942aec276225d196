--- @include "select"
-- The fallback chain: candidates come in tier order. A half-open candidate with a free probe is taken first,
-- otherwise it never recovers. Tier 0 is left only while its best health is under `min_health` and a fallback
-- scores `fallback_advantage` times better: hysteresis, so that two tiers do not take turns.
local function tier_best(eligible, field)
  local best = 0
  for _, c in ipairs(eligible) do best = math.max(best, c[field]) end
  return best
end

local function tier_group(candidates)
  local tiers = {}
  for _, c in ipairs(candidates) do
    if c.verdict == 'eligible' then
      local last = tiers[#tiers]
      if not last or last[1].tier ~= c.tier then
        last = {}
        tiers[#tiers + 1] = last
      end
      last[#last + 1] = c
    end
  end
  return tiers
end

local function tier_pick(candidates, policy, strategy, now, random)
  local tiers = tier_group(candidates)
  local home = tiers[1]
  if not home then return nil end
  local probing = {}
  for _, c in ipairs(home) do
    if c.probe then probing[#probing + 1] = c end
  end
  if #probing > 0 then return probing[math.floor(random() * #probing) + 1] end
  if tier_best(home, 'health') < policy.min_health then
    local bar = policy.fallback_advantage * tier_best(home, 'score')
    for position = 2, #tiers do
      local healthy = {}
      for _, c in ipairs(tiers[position]) do
        if not c.probe then healthy[#healthy + 1] = c end
      end
      if #healthy > 0 and tier_best(healthy, 'score') > bar then return select_one(healthy, strategy, now, random) end
    end
  end
  return select_one(home, strategy, now, random)
end
