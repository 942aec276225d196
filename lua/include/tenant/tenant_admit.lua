--- @include "tenant/tenant"
--- @include "tenant/tenant_lease"
-- Decides whether this tenant may send one more request now. A request counts once, however many attempts it takes. Its
-- tokens belong to its leases: each grant takes the estimate, each settle corrects it, so a request that ends between
-- two attempts leaves none taken. A further attempt takes them unchecked: its request has been admitted.
local TENANT_WAIT_MS = 1000

-- The request, from acquire's arguments; `share`: the tenant's active requests by its weight, when a request is
-- to be compared with it.
local function tenant_ask(arguments, leases_key, now)
  local token, number = arguments[4], tonumber
  local ask = { tenant = string.match(token, ' (.+)$') or '', priority = number(arguments[5]),
    attempt = number(arguments[7]), kind = arguments[16],
    tokens = number(arguments[8]), rpm = number(arguments[9]), tpm = number(arguments[10]),
    parallel = number(arguments[11]), weight = number(arguments[12]), waits = arguments[13] ~= '0',
    more = arguments[13] == '2', traced = arguments[14] == '1', pins = arguments[18] }
  ask.share = tenant_lease_active(leases_key, token, now) / ask.weight
  return ask
end

-- Returns the limit reached and the ms to wait; nil when the request may pass, and its use is noted.
local function tenant_refuse(tenant, limits, leases_key, token, now)
  if limits.attempt ~= 1 then
    local taken = limits.tpm > 0 and limit_take(tenant.tokens_at_ms, limits.tpm, limits.tokens, now) or nil
    tenant.taken = { tokens_at_ms = taken }
    return nil
  end
  if limits.parallel > 0 and tenant_lease_active(leases_key, token, now) >= limits.parallel then
    return 'parallel', TENANT_WAIT_MS
  end
  local requests_at_ms, tokens_at_ms, wait_ms
  if limits.rpm > 0 then
    requests_at_ms, wait_ms = limit_check(tenant.requests_at_ms, limits.rpm, 1, now)
    if wait_ms then return 'requests', wait_ms end
  end
  if limits.tpm > 0 then
    tokens_at_ms, wait_ms = limit_check(tenant.tokens_at_ms, limits.tpm, limits.tokens, now)
    if wait_ms then return 'tokens', wait_ms end
  end
  tenant.taken = { requests_at_ms = requests_at_ms, tokens_at_ms = tokens_at_ms }
end

local function tenant_take(tenant, now)
  if not tenant.key then return end
  for field, value in pairs(tenant.taken or {}) do record_set(tenant, field, decimal(value, 3)) end
  tenant_write(tenant, now)
end
