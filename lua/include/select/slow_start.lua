--- @include "select/tier_group"
-- A deployment whose breaker closed a moment ago takes part in a share of the decisions that rises from 10 % to all of
-- them, its `ramp`. One draw decides for all of a decision's candidates, so that several that recover at the same
-- moment get no more of the traffic than one would. The rest goes to healthy ones of their group or else to the next
-- healthy group, which were carrying it; where there is none, everything goes to those that recover.
local function tier_best(eligible, field)
  local best = 0
  for _, c in ipairs(eligible) do best = math.max(best, c[field]) end
  return best
end

local function slow_start_healthy(group, policy, above)
  local healthy = {}
  for _, c in ipairs(group) do
    if not c.probe and c.health >= policy.min_health and c.ramp > above then healthy[#healthy + 1] = c end
  end
  return healthy
end

-- Returns the candidates for this decision: those of the first group, or of a later one.
local function slow_start(groups, policy, rtt_key, random)
  local home, is_starting = groups[1], false
  for _, c in ipairs(home) do is_starting = is_starting or c.ramp < 1 end
  if not is_starting then return home end
  local draw, furthest = random(), home
  local ready = slow_start_healthy(home, policy, draw)
  if #ready > 0 then return ready end
  if groups[2] and rtt_key then groups = tier_group_far(groups, rtt_key) end
  for position = 2, #groups do
    ready = slow_start_healthy(groups[position], policy, draw)
    if #ready > 0 then return ready end
    local healthy = slow_start_healthy(groups[position], policy, 0)
    if tier_best(healthy, 'ramp') > tier_best(furthest, 'ramp') then furthest = healthy end
  end
  return furthest
end
