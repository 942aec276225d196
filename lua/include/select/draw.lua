--- @include "select/strategy"
-- Picks one of the eligible candidates at random, weighted by its share.
local function draw_one(eligible, strategy, random)
  local total = 0
  for _, c in ipairs(eligible) do
    c.share = strategy_share(strategy, c)
    total = total + c.share
  end
  local point = random() * total
  for _, c in ipairs(eligible) do
    point = point - c.share
    if point < 0 then return c end
  end
  -- All shares are 0, and so equal.
  return eligible[math.floor(random() * #eligible) + 1]
end

-- Picks the one of two draws that would respond sooner: the power of two choices. The shares alone are too similar to
-- keep traffic from slow candidates, and among equals no better than chance. A slow candidate is still drawn twice now
-- and then.
local function draw_sooner(eligible, strategy, now, random)
  local first = draw_one(eligible, strategy, random)
  if #eligible == 1 then return first end
  local second = draw_one(eligible, strategy, random)
  if second == first then return first end
  local first_ms = strategy_latency(first, now) * (first.active + 1)
  return strategy_latency(second, now) * (second.active + 1) < first_ms and second or first
end
