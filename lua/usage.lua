--- @flag "no-writes"
-- Read-only: what tenants used on one day.
--
-- KEYS  1 usage:<day> HASH
-- ARGV  1 nothing
-- reply field, value ... as `usage_add` describes them
return redis.call('HGETALL', KEYS[1])
