--- @include "store/domain"
--- @include "store/policy"
--- @include "breaker/unsupported"
--- @include "store/event"
-- Writes the policies in force of the router and of one deployment. Versions come from the agreement of the replicas
-- (`reload`) and only grow, and a version has one fingerprint. A call with an older version, or with another
-- fingerprint of the version in force, writes nothing. An empty value removes the field.
--
-- KEYS  1 global HASH, 2 policy STRING (JSON), 3 events STREAM, 4 deployment HASH
-- ARGV  1 epoch to set if none, 2 version (number), 3 router policy (JSON object holding that version and its
--       fingerprint), then the deployment's field, value ...
-- reply applied (0 | 1), version of the policies now, epoch, now_ms, are they those of the call (0 | 1)
local global_key, policy_key, events_key, deployment_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local epoch, version, router = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local domain, policy, own = domain_read(global_key), policy_read(policy_key), record_read(deployment_key)
if domain_foreign(domain) then return domain_foreign(domain) end
local in_force, own_version = policy and policy.version or 0, own.config_version or 0
local is_other = version == in_force and policy.fingerprint ~= cjson.decode(router).fingerprint
if version < in_force or is_other then return { 0, in_force, domain.epoch or '', domain.now, 0 } end
local function is_own_same()
  for k = 4, #ARGV, 2 do
    if tostring(own[ARGV[k]] or '') ~= tostring(tonumber(ARGV[k + 1]) or ARGV[k + 1]) then return false end
  end
  return true
end

domain_advance(domain, epoch)
record_write(domain)
if version > in_force then redis.call('SET', policy_key, router) end
if version == own_version then return { 0, version, domain.epoch, domain.now, 1 } end
local is_news = own_version == 0 or not is_own_same()
if not own.state then
  record_set(own, 'state', 'closed')
  record_set(own, 'generation', 0)
  record_set(own, 'health_score', '98.8')
end
for k = 4, #ARGV, 2 do
  if ARGV[k + 1] == '' then record_set(own, ARGV[k], nil) else record_set(own, ARGV[k], ARGV[k + 1]) end
end
unsupported_forget(own) -- the addresses that lacked an endpoint may have changed
record_set(own, 'config_version', version)
record_write(own)
if is_news then
  local id = string.match(deployment_key, ':deployment:(.+)$')
  event_add(events_key, domain, id, own_version, version, 'configured', 0)
end
return { 1, version, domain.epoch, domain.now, 1 }
