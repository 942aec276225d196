-- Soft affinity: a pinned deployment is preferred among the candidates of a decision, if its load is near that of the
-- least loaded one. Load is the used share of the limit. Strategies that compare fixed values keep to the best of them.

-- The band shrinks by what the provider's cache was measured to save there.
local function affinity_band(d, policy)
  return policy.affinity_band * (d.cache_hit or 1)
end

local function affinity_rank(strategy, d)
  if strategy == 'priority' then return -(d.priority or 0) end
  return strategy == 'cost-based' and d.price or 0
end

-- Returns why `c` is not preferred to others of `home`, or nil. A deployment that recovers has little load because it
-- gets little traffic: no session runs back for that.
local function affinity_against(c, home, policy, strategy)
  if strategy == 'weighted' then return 'strategy' end  -- weights are exact: no session changes the shares
  local least, rank = math.huge, math.huge
  for _, each in ipairs(home) do
    if each.ramp == 1 then least = math.min(least, each.active / each.limit) end
    rank = math.min(rank, affinity_rank(strategy, each.deployment))
  end
  if affinity_rank(strategy, c.deployment) > rank then return 'strategy' end
  return c.active / c.limit > least + affinity_band(c.deployment, policy) and 'load' or nil
end

-- Returns the first pinned candidate that is preferred, or nil. `why` of a pin: it was passed over.
local function affinity_pick(candidates, home, policy, strategy)
  for _, pin in ipairs(candidates.pins) do
    if pin.id then
      pin.why = 'absent'  -- from `home`
      for _, c in ipairs(home) do
        if c.deployment.id == pin.id then
          pin.why = affinity_against(c, home, policy, strategy)
          if not pin.why then return c end
        end
      end
    end
  end
  return nil
end
