-- What the calls under way may cost at most: HASH `reservations`, by token the micro-units and the budgets they are
-- reserved in ('400 domain tenant'). Ending a reservation twice is once. A key built here, as those of tenants are.
local RESERVATIONS_ENDED = 500

local function reservations_key(global_key) return (string.gsub(global_key, 'global$', 'reservations')) end

local function budget_key(global_key, scope, token)
  local key = string.gsub(global_key, 'global$', 'budget:') .. scope
  return scope == 'domain' and key or key .. ':' .. string.match(token, ' (.+)$')
end

local function budget_charge(global_key, token, scopes, reserved, cost)
  for scope in string.gmatch(scopes, '%a+') do
    local key = budget_key(global_key, scope, token)
    if reserved ~= 0 then redis.call('HINCRBY', key, 'reserved', -reserved) end
    if cost > 0 then redis.call('HINCRBY', key, 'spent', cost) end
  end
end

-- `cost`: what it was, negative when nobody knows: then what was reserved, because the provider may have worked.
local function reservation_end(global_key, token, cost)
  local text = redis.call('HGET', reservations_key(global_key), token)
  if not text then return false end
  local reserved = tonumber(string.match(text, '^%d+'))
  redis.call('HDEL', reservations_key(global_key), token)
  budget_charge(global_key, token, text, reserved, cost < 0 and reserved or cost)
  return true
end

-- Settle brings 'cost estimate scopes'. A lease without a reservation was told by its replica to a store that had
-- forgotten it, or was granted elsewhere.
local function reservation_settle(global_key, token, known, text)
  local cost, estimate, scopes = string.match(text, '^(-?%d+) (%d+) (.+)$')
  cost = tonumber(cost)
  if reservation_end(global_key, token, cost) or not known then return end
  budget_charge(global_key, token, scopes, 0, cost < 0 and tonumber(estimate) or cost)
end

-- Before expired leases are swept: nobody will tell what those calls took. Says how far may be swept.
local function reservations_expire(global_key, leases_key, now)
  local expired = redis.call('ZRANGEBYSCORE', leases_key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, RESERVATIONS_ENDED)
  for k = 1, #expired, 2 do reservation_end(global_key, expired[k], -1) end
  -- Those that are left go with the next beat.
  return #expired < 2 * RESERVATIONS_ENDED and now or tonumber(expired[#expired]) - 1
end
