--- @flag "no-writes"
-- Read-only: a page of the events of the domain.
--
-- KEYS  1 events STREAM
-- ARGV  1 newest (those before the id, newest first) | after (those after it, oldest first), 2 an id, or empty: from
--       the end or from the beginning, 3 how many at most
-- reply { id, { field, value ... } } per event
local events_key, direction, id, most = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if direction == 'newest' then
  return redis.call('XREVRANGE', events_key, id == '' and '+' or '(' .. id, '-', 'COUNT', most)
end
return redis.call('XRANGE', events_key, id == '' and '-' or '(' .. id, '+', 'COUNT', most)
