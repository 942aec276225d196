--- @flag "allow-oom"
--- @include "store/domain"
--- @include "store/event"
-- Tenants created at run time, in addition to those of the configuration, as all replicas hold them: with the hashes of
-- their keys. Each change has a version and is published to all replicas on the channel `tenants` of the domain.
--
-- KEYS  1 global HASH, 2 tenants HASH (name -> JSON with `key_hash`), 3 events STREAM
-- ARGV  1 epoch to set if none, 2 what (read | put | remove | restore | sign), 3 name (restore: version), 4 JSON,
--       5 actor, then of restore, by a replica that knows a later version than the store: name, JSON ... of all;
--       of sign: name, JSON as it is believed to be, JSON with another signature ...
-- reply version, name, JSON ... of all  |  'key_in_use', name  |  'unknown' (no such tenant to remove)
local global_key, tenants_key, events_key = KEYS[1], KEYS[2], KEYS[3]
local what, name, text, actor = ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local domain = domain_read(global_key)
local version = domain.tenants_version or 0
local transition

local function holder_of(hash)
  local all = redis.call('HGETALL', tenants_key)
  for k = 1, #all, 2 do
    local is_read, record = pcall(cjson.decode, all[k + 1])  -- a record that was overwritten blocks no other
    if all[k] ~= name and is_read and type(record) == 'table' and record.key_hash == hash then return all[k] end
  end
  return nil
end

if what == 'put' then
  local holder = holder_of(cjson.decode(text).key_hash)
  if holder then return { 'key_in_use', holder } end
  local is_new = redis.call('HSET', tenants_key, name, text) == 1
  transition = { from = is_new and '' or 'tenant', to = 'tenant', reason = 'put by ' .. actor }
elseif what == 'remove' then
  if redis.call('HDEL', tenants_key, name) == 0 then return { 'unknown' } end
  redis.call('DEL', string.gsub(global_key, 'global$', 'limit:tenant:') .. name)  -- what it has used goes with it
  transition = { from = 'tenant', to = '', reason = 'removed by ' .. actor }
elseif what == 'restore' and tonumber(name) > version then
  redis.call('DEL', tenants_key)
  for k = 6, #ARGV, 2 do redis.call('HSET', tenants_key, ARGV[k], ARGV[k + 1]) end
  version = tonumber(name) - 1
  transition = { from = '', to = 'tenants', reason = 'restored' }
elseif what == 'sign' then
  for k = 6, #ARGV, 3 do  -- what has changed meanwhile is left alone
    if redis.call('HGET', tenants_key, ARGV[k]) == ARGV[k + 1] then
      redis.call('HSET', tenants_key, ARGV[k], ARGV[k + 2])
      transition = { from = 'tenants', to = 'tenants', reason = 'signed by ' .. actor }
    end
  end
end
if transition then
  domain_advance(domain, ARGV[1])
  version = version + 1
  record_set(domain, 'tenants_version', version)
  record_write(domain)
  event_add(events_key, domain, name, transition.from, transition.to, transition.reason, version)
  redis.pcall('PUBLISH', (string.gsub(global_key, 'global$', 'tenants')), tostring(version))
end
local reply = redis.call('HGETALL', tenants_key)
table.insert(reply, 1, version)
return reply
