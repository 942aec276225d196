--- @include "lease/lease"
-- Leases of a block, many tokens at a time. They start when the last of them may be handed out, `hold_ms` after the
-- grant: a permit that waits in its replica does not look like a hanging call, and the last call has the whole time of
-- its lease.
local function block_add(domain_leases, leases, tokens, now, hold_ms, lease_ms)
  local own, all, start = {}, {}, now + hold_ms
  for _, token in ipairs(tokens) do
    own[#own + 1], own[#own + 2], all[#all + 1], all[#all + 2] = start, token, start + lease_ms, token
  end
  redis.call('ZADD', leases, unpack(own))
  redis.call('ZADD', domain_leases, unpack(all))
  local tenant_key = tenant_lease_key(domain_leases, tokens[1])
  if tenant_key then
    tenant_lease_add(domain_leases, tokens[1], now, hold_ms + lease_ms)
    redis.call('ZADD', tenant_key, unpack(all))
  end
end

-- For a call that is sent again: position and generation per token, 0 where it has no lease, and how many have one.
-- `keys` from `first` on: three per candidate, perhaps one more.
local function block_find(keys, first, tokens, hold_ms)
  local rows, found = {}, 0
  for k, token in ipairs(tokens) do rows[2 * k - 1], rows[2 * k] = 0, 0 end
  for key = first, #keys - 2, 3 do
    local d = deployment_read(keys[key])
    for k, token in ipairs(tokens) do
      local start = d.config_version and tonumber(redis.call('ZSCORE', keys[key + 1], token) or nil)
      if start then
        rows[2 * k - 1], rows[2 * k] = (key - first) / 3 + 1, lease_generation(d, start - hold_ms)
        found = found + 1
      end
    end
  end
  return rows, found
end

-- Ends the leases and keeps only the calls that had one, so that a second settle has no effect.
local function block_end(domain_leases, leases, calls)
  local known, all = {}, {}
  for k, call in ipairs(calls) do
    all[k] = call.token
    tenant_lease_remove(domain_leases, call.token)
    if redis.call('ZREM', leases, call.token) == 1 then known[#known + 1] = call end
  end
  redis.call('ZREM', domain_leases, unpack(all))
  return known
end
