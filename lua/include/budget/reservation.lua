-- The most that the calls in flight may cost: HASH `reservations`, by token the micro-units and the budgets they are
-- reserved in ('400 domain tenant'). Ending a reservation twice is once. Keys built here, as those of tenants are.
local function budget_charge(global_key, token, scopes, reserved, cost)
  local prefix = string.gsub(global_key, 'global$', 'budget:')
  for scope in string.gmatch(scopes, '%a+') do
    local key = prefix .. (scope == 'domain' and scope or scope .. ':' .. string.match(token, ' (.+)$'))
    if reserved ~= 0 then redis.call('HINCRBY', key, 'reserved', -reserved) end
    if cost > 0 then redis.call('HINCRBY', key, 'spent', cost) end
  end
end

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
