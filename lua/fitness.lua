--- @flag "no-writes"
--- @include "store/number"
-- Read-only: reports the features that the scripts use and this store lacks, so that a replica refuses the store at its
-- start instead of failing requests later.
-- Guarantees: writes nothing. A command that the store refuses for now, or to this user, is not missing.
--
-- KEYS  1 global HASH, 2 window STRING, 3 events STREAM, 4 leases ZSET
-- ARGV  1 name of a key of the domain that is not among KEYS
-- reply what is missing, in words ...
local global_key, window_key, events_key, leases_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local other, missing = ARGV[1], {}

local function need(words, reply)
  local problem = type(reply) == 'table' and reply.err
  local code = problem and string.match(problem, '^(%u+) ')
  if problem and (not code or code == 'ERR') then missing[#missing + 1] = words end
end

need('TIME in a script', redis.pcall('TIME'))
need('BITFIELD with OVERFLOW', redis.pcall('BITFIELD', window_key, 'OVERFLOW', 'SAT', 'GET', 'u32', 0))
need('XRANGE from an excluded id', redis.pcall('XRANGE', events_key, '(0-1', '+', 'COUNT', 1))
need('ZCOUNT from an excluded score', redis.pcall('ZCOUNT', leases_key, '(1', '+inf'))
need('access to keys that a script names itself', redis.pcall('GET', (string.gsub(global_key, 'global$', other))))
if not pcall(function() return cjson.decode(cjson.encode({ unpack({ 1 }) })) end) then
  missing[#missing + 1] = 'cjson in a script'
end
return missing
