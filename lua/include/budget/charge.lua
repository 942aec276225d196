--- @include "budget/reservation"
-- Settle brings 'cost estimate scopes'. A lease without a reservation was sent by its replica to a store that had
-- forgotten it, or was granted elsewhere: it pays all the same.
local function reservation_settle(global_key, token, known, text)
  local cost, estimate, scopes = string.match(text, '^(-?%d+) (%d+) (.+)$')
  cost = tonumber(cost)
  if reservation_end(global_key, token, cost) or not known then return end
  budget_charge(global_key, token, scopes, 0, cost < 0 and tonumber(estimate) or cost)
end
