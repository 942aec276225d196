--- @include "store/number"
-- The round trips that one replica has measured from its region, smoothed with those of the other replicas there. They
-- expire when no replica measures any more.
--
-- KEYS  1 rtt:<region> HASH
-- ARGV  1 ms until it is forgotten, then deployment, round trip in ms ...
-- reply how many were sent
local rtt_key, forgotten_ms, SHARE = KEYS[1], ARGV[1], 0.3  -- of a new value: half of a change is seen after two
local ids, smoothed = {}, {}
for k = 2, #ARGV, 2 do ids[#ids + 1] = ARGV[k] end
local before = redis.call('HMGET', rtt_key, unpack(ids))
for position, id in ipairs(ids) do
  local fresh, known = tonumber(ARGV[2 * position + 1]), tonumber(before[position] or nil)
  smoothed[#smoothed + 1] = id
  smoothed[#smoothed + 1] = decimal(known and known + SHARE * (fresh - known) or fresh, 1)
end
redis.call('HSET', rtt_key, unpack(smoothed))
redis.call('PEXPIRE', rtt_key, forgotten_ms)
return { #ids }
