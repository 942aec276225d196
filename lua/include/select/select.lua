--- @include "select/draw"
-- Picks one of the eligible candidates of a tier. Nothing is written: taking turns leaves `turn` on its candidates.
local function select_least(eligible, strategy, now, random)
  local best, first, second, equals
  for _, c in ipairs(eligible) do
    local cost, tie = strategy_cost(strategy, c, now)
    if not best or cost < first or (cost == first and tie < second) then
      best, first, second, equals = c, cost, tie, 1
    elseif cost == first and tie == second then
      equals = equals + 1
      if random() * equals < 1 then best = c end
    end
  end
  return best
end

-- Smooth weighted round robin (nginx): each candidate gains its share, the richest is picked and pays the total.
local function select_turn(eligible, strategy)
  local total, best = 0, nil
  for _, c in ipairs(eligible) do
    local share = strategy_share(strategy, c)
    total, c.turn = total + share, (c.deployment.current_weight or 0) + share
    if not best or c.turn > best.turn then best = c end
  end
  best.turn = best.turn - total
  return best
end

local function select_one(eligible, strategy, now, random)
  if strategy == 'weighted' or strategy == 'round-robin' then return select_turn(eligible, strategy) end
  if strategy == 'adaptive' then return draw_sooner(eligible, strategy, now, random) end
  if strategy == 'random' then return draw_one(eligible, strategy, random) end
  return select_least(eligible, strategy, now, random)
end
