--- @include "store/clock"
--- @include "store/owner"
-- Remembers the deployment that holds what the ids of an answer name, for requests that will name them. A part is full
-- at its share of `most`, and ends after its share of `ttl_ms`; an id lives for `ttl_ms`, at most a part longer.
--
-- KEYS  1 global HASH, 2 owners HASH
-- ARGV  1 deployment, 2 ttl_ms, 3 most (ids kept in the domain), 4 secret to set if none, then a digest per id
-- reply part, ids in it
local global_key, owners_key, deployment, ttl_ms, most = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now, secret, digests = clock_ms(global_key), ARGV[4], {}
for k = 5, #ARGV do digests[k - 4] = ARGV[k] end
local kept = redis.call('HMGET', owners_key, 'secret', 'part', 'since_ms', 'count')
local part, since_ms, count = tonumber(kept[2] or 1), tonumber(kept[3] or now), tonumber(kept[4] or 0)
secret = kept[1] or secret

local room = math.max(1, math.floor(most / OWNER_PARTS))
local is_new = not kept[1]
if (count > 0 and count + #digests > room) or now - since_ms >= ttl_ms / OWNER_PARTS then
  part, since_ms, count, is_new = part + 1, now, 0, true
end
local key, words = owner_key(global_key, part), {}
for k, field in ipairs(owner_fields(secret, digests)) do
  if k <= room then words[2 * k - 1], words[2 * k] = field, deployment end
end

if is_new then redis.call('DEL', owner_key(global_key, part - OWNER_PARTS)) end
count = count + redis.call('HSET', key, unpack(words))
redis.call('PEXPIRE', key, ttl_ms)
redis.call('HSET', owners_key, 'secret', secret, 'part', part, 'since_ms', decimal(since_ms, 0), 'count', count)
redis.call('PEXPIRE', owners_key, 2 * ttl_ms)
return { part, count }
