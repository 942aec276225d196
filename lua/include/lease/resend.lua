--- @include "store/deployment"
--- @include "store/domain"
--- @include "store/era"
--- @include "select/grant"
--- @include "lease/lease"
--- @include "tenant/tenant"
-- Returns the first grant of a call that is sent again: the position of the candidate, its deployment and the lease's
-- start, or nil. `keys` from `first` on: three per candidate, perhaps one more.
local function resend_find(keys, first, token, now)
  for k = first, #keys - 2, 3 do
    local start = tonumber(redis.call('ZSCORE', keys[k + 1], token) or nil)
    local d = start and deployment_read(keys[k])
    if d and d.config_version and math.floor(start) + d.lease_ms > now then return (k - first) / 3 + 1, d, start end
  end
  return nil
end

-- Returns the same grant again, as acquire replies it; nil when there was none.
local function resend_reply(keys, first, token, epoch, domain, era, ask)
  local position, d, start = resend_find(keys, first, token, domain.now)
  if not position then return nil end
  domain_advance(domain, epoch)
  era_note(domain, lease_owner(token) or '', era)
  record_write(domain)
  local code = grant_code(lease_is_probe(start), lease_is_resort(start))
  local requests_ms, tokens_ms = tenant_used(tenant_read(domain.key, token, ask), domain.now)
  return { 'granted', position, lease_generation(d, start), code, domain.sequence, domain.epoch, domain.now,
    requests_ms, tokens_ms, ask.pins ~= '' and 'none' or nil }
end
