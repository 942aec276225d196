--- @include "store/domain"
--- @include "store/policy"
--- @include "store/event"
--- @include "configuration/in_force"
--- @include "configuration/inherit"
--- @include "configuration/consent"
-- The configuration in force, on which the replicas agree: nothing else changes it. Each replica reads its own file;
-- the store sees its digest, its fingerprint and what it means for the shared state, no secret. A reload is committed
-- when every replica with a fresh heartbeat is ready, refused when one of them is not or the time is over; `take` puts
-- a file in force without the others. The other rules: `in_force` and `inherit`.
--
-- KEYS  1 global HASH, 2 policy STRING (JSON), 3 reload HASH, 4 events STREAM, 5 replicas ZSET,
--       6 configuration STRING (JSON: what is in force, as a replica has published it)
-- ARGV  1 epoch to set if none, 2 what (hold | propose | take | remind | answer | publish | read | leave), 3 replica,
--       4 dead_after_ms, 5 digest and 6 fingerprint of its file, 7 version that it runs, 8 when it registered (ms, 0:
--       now), 9 version, 10 digest, 11 fingerprint that it knows to be in force (version 0: none), 12 were these the
--       first of an empty store (0 | 1), 13 newest version of policies that it has seen in other domains,
--       of propose, take: 14 digest, 15 fingerprint, 16 how long the others may take (ms);
--       of answer: 14 version, 15 'ready' or its problems; of publish: 14 version, 15 JSON
-- reply JSON { version, digest, fingerprint, is_first, is_published, is_held (policies are of that version),
--       registered_ms, phase (empty | prepare | committed | refused), proposed_version, proposed_digest, proposed_by,
--       replicas = { id = { version, digest, fingerprint, answer } } of those that live }; of read: what is published
local global_key, policy_key, reload_key, events_key, replicas_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local configuration_key, epoch, what, replica, dead_after_ms = KEYS[6], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local own = { digest = ARGV[5], fingerprint = ARGV[6], version = ARGV[7], registered_ms = tonumber(ARGV[8]) }
local known = { version = tonumber(ARGV[9]), digest = ARGV[10], fingerprint = ARGV[11], is_first = ARGV[12] == '1' }
local LIVING_MOST = 1000

local domain, policy, reload = domain_read(global_key), policy_read(policy_key), record_read(reload_key)
if domain_foreign(domain) then return domain_foreign(domain) end
local now, before, phase, reason = domain.now, reload.version, reload.phase, nil
local living, is_living = {}, {}
local beating = redis.call('ZRANGEBYSCORE', replicas_key, now - dead_after_ms, '+inf', 'LIMIT', 0, LIVING_MOST)
if what ~= 'leave' then living[1] = replica end
for _, name in ipairs(beating) do if name ~= replica then living[#living + 1] = name end end
for _, name in ipairs(living) do is_living[name] = true end
local written = math.max(policy and policy.version or 0, tonumber(ARGV[13]))
-- An earlier release has followed, and written policies of this version without their fingerprint.
if policy and policy.version == reload.version and policy.fingerprint ~= in_force_fingerprint(reload) then
  written = written + 1
end
local function next_version()
  return 1 + math.max(now, reload.version or 0, reload.proposed_version or 0, known.version, written)
end

for field in pairs(reload) do
  local owner = string.match(field, '^%a+:(.+)$')
  if owner and not is_living[owner] then record_set(reload, field, nil) end
end
if own.registered_ms == 0 then own.registered_ms = now end
if what ~= 'leave' then
  record_set(reload, 'runs:' .. replica, own.version .. ' ' .. own.digest)
  record_set(reload, 'means:' .. replica, string.format('%d ', own.registered_ms) .. own.fingerprint)
end
in_force_restore(reload, now, own, known, next_version(), written)
if reload.phase ~= 'prepare' then
  local is_last = what == 'leave' and own.digest == reload.digest and own.fingerprint == in_force_fingerprint(reload)
  local heir = inherit(reload, living, now, is_last, next_version())
  if heir then reason = 'inherited by ' .. heir end
  if what == 'propose' then
    local file = { digest = ARGV[14], fingerprint = ARGV[15] }
    consent_propose(reload, living, replica, file, next_version(), now + tonumber(ARGV[16]))
  elseif what == 'take' then
    in_force_put(reload, next_version(), ARGV[14], ARGV[15])
    reason = 'taken from ' .. replica
  end
elseif what == 'answer' and tonumber(ARGV[14]) == reload.proposed_version then
  record_set(reload, 'answer:' .. replica, ARGV[15])
end
if reload.phase == 'prepare' then reason = consent_judge(reload, living, now) end
local fingerprint = in_force_fingerprint(reload)
if what == 'publish' and tonumber(ARGV[14]) == reload.version then
  redis.call('SET', configuration_key, ARGV[15])
  record_set(reload, 'published', fingerprint)
end
if reason then event_add(events_key, domain, 'configuration', before or '', reload.version, reason, 0) end
domain_advance(domain, epoch)
record_write(domain)
record_write(reload)
if what == 'remind' or reload.version ~= before or reload.phase ~= phase or what == 'propose' then
  redis.pcall('PUBLISH', (string.gsub(global_key, 'global$', 'reload')), reload.phase or '')
end

local replicas = {}
for _, name in ipairs(living) do
  local ran, running = string.match(reload['runs:' .. name] or '', '^(%d+) (.+)$')
  replicas[name] = { version = tonumber(ran) or 0, digest = running or '', answer = reload['answer:' .. name] or '',
    fingerprint = string.match(reload['means:' .. name] or '', '^%d+ (.+)$') or '' }
end
return { cjson.encode({ version = reload.version, digest = reload.digest, fingerprint = fingerprint or '',
  is_first = now < (reload.first_until_ms or 0),
  is_published = reload.published == fingerprint and redis.call('GETRANGE', configuration_key, 0, 0) ~= '',
  is_held = policy and policy.version == reload.version and (policy.fingerprint or '') == fingerprint or false,
  registered_ms = own.registered_ms, phase = reload.phase or '', proposed_version = reload.proposed_version or 0,
  proposed_digest = reload.proposed_digest or '', proposed_by = reload.proposed_by or '', replicas = replicas }),
  what == 'read' and reload.published == fingerprint and redis.call('GET', configuration_key) or '' }
