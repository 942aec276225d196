--- @flag "no-writes"
--- @include "store/domain"
-- Read-only: the forecasts of deployments as their last tick left them.
--
-- KEYS  1 global HASH, then per deployment: forecast HASH
-- ARGV  1 how long (ms) a forecast is used when no newer one follows
-- reply per deployment a flat list: field, value ... ({} when there is none, or only an old one)
local global_key, valid_ms = KEYS[1], tonumber(ARGV[1])
local MINUTE_MS = 60000

local now, reply = domain_read(global_key, { 'epoch', 'clock_ms', 'clock_offset_ms' }).now, {}
for k = 2, #KEYS do
  local row = redis.call('HGETALL', KEYS[k])
  local minute = tonumber(redis.call('HGET', KEYS[k], 'minute') or 0)
  reply[k - 1] = (minute + 1) * MINUTE_MS + valid_ms > now and row or {}
end
return reply
