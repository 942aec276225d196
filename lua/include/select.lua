--- @include "strategy"
-- Picks one of the eligible candidates of a tier. Nothing is written: round robin leaves `turn` on its candidates.
local function select_least(eligible, cost_of, now, random)
  local best, first, second, equals
  for _, c in ipairs(eligible) do
    local cost, tie = cost_of(c, now)
    tie = tie or 0
    if not best or cost < first or (cost == first and tie < second) then
      best, first, second, equals = c, cost, tie, 1
    elseif cost == first and tie == second then
      equals = equals + 1
      if random() * equals < 1 then best = c end
    end
  end
  return best
end

local function select_random(eligible, weight_of, random)
  local total = 0
  for _, c in ipairs(eligible) do total = total + weight_of(c) end
  local point = random() * total
  for _, c in ipairs(eligible) do
    point = point - weight_of(c)
    if point < 0 then return c end
  end
  return eligible[#eligible]
end

local function select_round(eligible, weight_of)
  local total, best = 0, nil
  for _, c in ipairs(eligible) do
    local weight = weight_of(c)
    total, c.turn = total + weight, (c.deployment.current_weight or 0) + weight
    if not best or c.turn > best.turn then best = c end
  end
  best.turn = best.turn - total
  return best
end

local function select_one(eligible, strategy, now, random)
  if LEAST[strategy] then return select_least(eligible, LEAST[strategy], now, random) end
  if ROUND[strategy] then return select_round(eligible, ROUND[strategy]) end
  return select_random(eligible, WEIGHT[strategy], random)
end
