--- @include "select/region"
-- Groups the eligible candidates in the order of preference: by tier, and in each tier those at home before those that
-- are away.
local function tier_group(candidates)
  local groups, tier, home, away = {}, nil, nil, nil
  for _, c in ipairs(candidates) do
    if c.verdict == 'eligible' then
      if tier ~= c.tier then tier, home, away = c.tier, nil, nil end
      if c.away then
        if not away then
          away = {}
          groups[#groups + 1] = away
        end
        away[#away + 1], c.ring = c, nil  -- who was picked before, in the same block, is no longer among them
      else
        if not home then
          home = {}
          table.insert(groups, away and #groups or #groups + 1, home)
        end
        home[#home + 1] = c
      end
    end
  end
  return groups
end

-- Returns the same groups, those that are away split by distance: used only when a request has to go there.
local function tier_group_far(groups, rtt_key)
  local all = {}
  for _, group in ipairs(groups) do
    local is_away = group[1].away and not group[1].ring
    for _, ring in ipairs(is_away and region_rings(group, rtt_key) or { group }) do all[#all + 1] = ring end
  end
  return all
end
