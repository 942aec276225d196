--- @include "select/strategy"
-- Picks by chance, each of the eligible candidates by its share.
local function draw_one(eligible, strategy, random)
  local total = 0
  for _, c in ipairs(eligible) do total = total + strategy_share(strategy, c) end
  local point = random() * total
  for _, c in ipairs(eligible) do
    point = point - strategy_share(strategy, c)
    if point < 0 then return c end
  end
  -- All are worth nothing, and so equal.
  return eligible[math.floor(random() * #eligible) + 1]
end

-- Takes the one of two draws that would answer sooner: the power of two choices. The shares alone are too much alike to
-- keep traffic from the slow, and among equals no better than chance. What is slow is still drawn twice now and then. A
-- forecast weighs where each of these has one that is still good; a fallback that idles never has.
local function draw_sooner(eligible, strategy, now, random)
  local is_foreseen = true
  for _, c in ipairs(eligible) do
    if now >= (c.deployment.forecast_until_ms or 0) then
      is_foreseen = false
      break
    end
  end
  if is_foreseen then
    for _, c in ipairs(eligible) do
      local share = c.deployment.forecast_share or 1
      c.merit, c.score = c.merit * share, c.score * share
    end
  end
  local first = draw_one(eligible, strategy, random)
  if #eligible == 1 then return first end
  local second = draw_one(eligible, strategy, random)
  local function wait_ms(c) return strategy_latency(c, now) * (c.active + 1) end
  return wait_ms(second) < wait_ms(first) and second or first
end
