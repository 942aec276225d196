--- @include "domain"
--- @include "policy"
--- @include "event"
-- A new configuration, taken by all replicas that live or by none. Each reads its own file; here they agree on the
-- digest of its text, so that no secret comes here. The verdict is given once, in one atomic step: committed when every
-- replica with a fresh heartbeat is ready, refused when one of them is not or the time is over.
-- In force is what was committed last; what the first replica runs when there is nothing; what all run after a rolling
-- restart; and after a flush what a replica brings that had agreed on it.
--
-- KEYS  1 global HASH, 2 policy STRING (JSON), 3 reload HASH, 4 events STREAM, 5 replicas ZSET
-- ARGV  1 epoch to set if none, 2 what (hold | propose | remind | answer), 3 replica, 4 version and 5 digest that it
--       runs, 6 did it agree on them with the others (0 | 1), 7 dead_after_ms,
--       of propose: 8 digest, 9 how long the others may take (ms); of answer: 8 version, 9 'ready' or its problems
-- reply JSON { version, digest, phase (empty | prepare | committed | refused), proposed_version, proposed_digest,
--       proposed_by, replicas = { id = { version, digest, answer } } of those that live }
local global_key, policy_key, reload_key, events_key, replicas_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local epoch, what, replica, version, digest = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local has_agreed, dead_after_ms = ARGV[6] == '1', tonumber(ARGV[7])
local LIVING_MOST = 1000

local domain, policy, reload = domain_read(global_key), policy_read(policy_key), record_read(reload_key)
if domain_foreign(domain) then return domain_foreign(domain) end
local now, is_told, is_living = domain.now, what == 'remind', {}
local living = redis.call('ZRANGEBYSCORE', replicas_key, now - dead_after_ms, '+inf', 'LIMIT', 0, LIVING_MOST)
for _, name in ipairs(living) do is_living[name] = true end
if not is_living[replica] then is_living[replica], living[#living + 1] = true, replica end

local function put_in_force(new_version, new_digest)
  record_set(reload, 'version', new_version)
  record_set(reload, 'digest', new_digest)
end

local function conclude(phase, reason)
  local before = reload.version
  record_set(reload, 'phase', phase)
  if phase == 'committed' then put_in_force(reload.proposed_version, reload.proposed_digest) end
  event_add(events_key, domain, 'configuration', before, reload.version, reason, 0)
  is_told = true
end

local function judge()
  local missing
  for _, name in ipairs(living) do
    local answer = reload['answer:' .. name]
    if answer and answer ~= 'ready' then return conclude('refused', 'refused by ' .. name) end
    if not answer then missing = name end
  end
  if not missing then return conclude('committed', 'reloaded by ' .. reload.proposed_by) end
  if now > reload.until_ms then return conclude('refused', 'no answer of ' .. missing) end
end

for field in pairs(reload) do
  local owner = string.match(field, '^%a+:(.+)$')
  if owner and not is_living[owner] then record_set(reload, field, nil) end
end
record_set(reload, 'runs:' .. replica, string.format('%d', version) .. ' ' .. digest)
if not reload.version or (has_agreed and version > reload.version) then
  put_in_force(version, digest)
elseif reload.phase ~= 'prepare' and digest ~= reload.digest then
  local is_everywhere, newest = true, 0
  for _, name in ipairs(living) do
    local ran, running = string.match(reload['runs:' .. name] or '', '^(%d+) (.+)$')
    is_everywhere, newest = is_everywhere and running == digest, math.max(newest, tonumber(ran) or 0)
  end
  if is_everywhere and newest > reload.version then put_in_force(newest, digest) end
end
if what == 'propose' and reload.phase ~= 'prepare' then
  for _, name in ipairs(living) do record_set(reload, 'answer:' .. name, nil) end
  record_set(reload, 'proposed_version', 1 + math.max(now, reload.version,
    reload.proposed_version or 0, policy and policy.version or 0))
  record_set(reload, 'proposed_digest', ARGV[8])
  record_set(reload, 'proposed_by', replica)
  record_set(reload, 'until_ms', now + tonumber(ARGV[9]))
  record_set(reload, 'phase', 'prepare')
  record_set(reload, 'answer:' .. replica, 'ready')  -- who proposes has read and checked it
  is_told = true
elseif what == 'answer' and reload.phase == 'prepare' and tonumber(ARGV[8]) == reload.proposed_version then
  record_set(reload, 'answer:' .. replica, ARGV[9])
end
if reload.phase == 'prepare' then judge() end
domain_advance(domain, epoch)
record_write(domain)
record_write(reload)
if is_told then redis.pcall('PUBLISH', (string.gsub(global_key, 'global$', 'reload')), reload.phase or '') end

local replicas = {}
for _, name in ipairs(living) do
  local ran, running = string.match(reload['runs:' .. name] or '', '^(%d+) (.+)$')
  replicas[name] = { version = tonumber(ran) or 0, digest = running or '', answer = reload['answer:' .. name] or '' }
end
return { cjson.encode({ version = reload.version, digest = reload.digest, phase = reload.phase or '',
  proposed_version = reload.proposed_version or 0, proposed_digest = reload.proposed_digest or '',
  proposed_by = reload.proposed_by or '', replicas = replicas }) }
