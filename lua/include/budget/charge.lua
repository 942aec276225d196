-- Takes a cost, and what was reserved for it, from each budget of a call ('domain tenant'). Keys are built here, as
-- those of tenants are.
local function budget_charge(global_key, token, scopes, reserved, cost)
  local prefix = string.gsub(global_key, 'global$', 'budget:')
  for scope in string.gmatch(scopes, '%a+') do
    local key = prefix .. (scope == 'domain' and scope or scope .. ':' .. string.match(token, ' (.+)$'))
    if reserved ~= 0 then redis.call('HINCRBY', key, 'reserved', -reserved) end
    if cost > 0 then redis.call('HINCRBY', key, 'spent', cost) end
  end
end
