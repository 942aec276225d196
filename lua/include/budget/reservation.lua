--- @include "budget/charge"
-- The highest cost of the calls in flight: HASH `reservations`, by token the micro-units and the budgets in which they
-- are reserved ('400 domain tenant'). A second end of a reservation has no effect.

-- `cost`: of the call, negative when unknown: then the reservation counts, because the provider may have worked.
local function reservation_end(global_key, token, cost)
  local key = string.gsub(global_key, 'global$', 'reservations')
  local text = redis.call('HGET', key, token)
  if not text then return false end
  local reserved = tonumber(string.match(text, '^%d+'))
  redis.call('HDEL', key, token)
  budget_charge(global_key, token, text, reserved, cost < 0 and reserved or cost)
  return true
end

-- Settle brings 'cost estimate scopes'. A lease without a reservation was sent by its replica to a store that had
-- forgotten it, or was granted elsewhere: it pays all the same.
local function reservation_settle(global_key, token, known, text)
  local cost, estimate, scopes = string.match(text, '^(-?%d+) (%d+) (.+)$')
  cost = tonumber(cost)
  if reservation_end(global_key, token, cost) or not known then return end
  budget_charge(global_key, token, scopes, 0, cost < 0 and tonumber(estimate) or cost)
end
