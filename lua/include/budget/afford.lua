--- @include "budget/budget"
-- Marks candidates whose estimate does not fit, so that a cheaper one or a cheaper model of the chain is picked. A free
-- candidate always fits. When none fits, returns whose budget is used up, and the ms until that may change, 0 when it
-- will not by itself.
local function budgets_apply(budgets, candidates, now)
  local BUDGET_WAIT_MS = 1000  -- a call in flight may release what it does not need
  local scope, soonest_ms, over = nil, math.huge, 0
  for _, c in ipairs(candidates) do
    local cost, wait_ms = budgets.costs[c.position], nil
    for _, b in ipairs(budgets) do
      if cost > 0 and b.taken + cost > b.amount then
        local turns_ms = cost <= b.amount and b.ends_at_ms and b.ends_at_ms - now or math.huge
        if (b.spent or 0) + cost <= b.amount then turns_ms = BUDGET_WAIT_MS end
        scope, wait_ms = scope or b.scope, math.max(wait_ms or 0, turns_ms)
      end
    end
    if c.verdict == 'excluded' then
      over = over + 1
    elseif wait_ms then
      c.verdict, c.wait_ms, over, soonest_ms = 'over_budget', nil, over + 1, math.min(soonest_ms, wait_ms)
    end
  end
  if over < #candidates then return nil end
  return scope, soonest_ms < math.huge and soonest_ms or 0
end

local function budgets_take(budgets, global_key, token, position)
  local cost = budgets.costs[position]
  for _, b in ipairs(budgets) do
    if cost > 0 then record_set(b, 'reserved', (b.reserved or 0) + cost) end
    record_write(b)
  end
  local key = string.gsub(global_key, 'global$', 'reservations')
  if cost > 0 then redis.call('HSET', key, token, decimal(cost, 0) .. budgets.scopes) end
end
