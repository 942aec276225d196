--- @include "limit/limit"
--- @include "store/record"
-- One tenant's use of its minute in the whole domain: HASH limit:tenant:<name> with requests_at_ms and tokens_at_ms,
-- arrival times as in `limit`. The limits themselves come with each call (0 is unlimited), because every replica has
-- the same tenants.
local function tenant_read(global_key, token, limits)
  local name = string.match(token, ' (.+)$')
  if not name or limits.rpm + limits.tpm == 0 then return { changes = {}, changed = 0 } end
  return record_read(string.gsub(global_key, 'global$', 'limit:tenant:') .. name)
end

-- An arrival time is of no use once it has passed; answers may have moved it many minutes ahead.
local function tenant_write(tenant, now)
  if not tenant.key then return end
  record_write(tenant)
  local until_ms = math.max(tonumber(tenant.requests_at_ms) or 0, tonumber(tenant.tokens_at_ms) or 0)
  redis.call('PEXPIRE', tenant.key, math.ceil(math.max(0, until_ms - now)) + MINUTE_MS)
end

-- Returns the used ms of a minute for the client's headers: of requests and of tokens.
local function tenant_used(tenant, now)
  return math.max(0, math.ceil((tenant.requests_at_ms or 0) - now)),
    math.max(0, math.ceil((tenant.tokens_at_ms or 0) - now))
end

local function tenant_correct(global_key, token, tpm, estimated, used, now)
  local tenant = tenant_read(global_key, token, { rpm = 0, tpm = tpm })
  if not tenant.key then return end
  record_set(tenant, 'tokens_at_ms', decimal(limit_correct(tenant.tokens_at_ms, tpm, estimated, used, now), 3))
  tenant_write(tenant, now)
end
