--- @flag "no-writes"
--- @include "store/domain"
-- Read-only: the replicas that have beaten and are not taken for dead, oldest heartbeat first.
--
-- KEYS  1 global HASH, 2 replicas ZSET; each report, replica:<id>, is found next to it
-- ARGV  1 how many at most
-- reply now_ms, then per replica { id, last heartbeat (ms), field, value ... }
local global_key, replicas_key, most = KEYS[1], KEYS[2], tonumber(ARGV[1])
local reply = { domain_read(global_key, { 'clock_ms', 'clock_offset_ms' }).now }
local prefix = string.gsub(replicas_key, 'replicas$', 'replica:')
local beats = redis.call('ZRANGE', replicas_key, 0, most - 1, 'WITHSCORES')
for k = 1, #beats, 2 do
  local row = redis.call('HGETALL', prefix .. beats[k])
  table.insert(row, 1, tonumber(beats[k + 1]))
  table.insert(row, 1, beats[k])
  reply[#reply + 1] = row
end
return reply
