--- @include "store/record"
-- Pins: the deployment of a session, or of a prompt's prefix, in two HASHes `affinity:0` and `affinity:1`: by keyed
-- hash '<ms of the last use> <deployment>'. Writes go to one of them. After `ttl`, or when it holds half of the allowed
-- entries, they change places and the older one is removed: number and time are bounded without a sweep. The domain's
-- record keeps affinity_turn (the one in use, by parity), affinity_since_ms and affinity_count.
-- '?' instead of the space: only first turns have used the pin, each known only by its beginning ('+' before the hash).
-- They may be single requests, so other first turns do not see it.
local PIN = '^(%d+)([ ?])(.+)$'
local PINS_REFRESH = 8  -- a pin is written again after this part of its ttl: most turns only read

local function pins_key(domain, turn)
  if not domain.pins_prefix then domain.pins_prefix = string.gsub(domain.key, 'global$', 'affinity:') end
  return domain.pins_prefix .. turn % 2
end

-- `words`: keyed hashes, the session's first, then those of prefixes, the longest first; '' without any. Returns per
-- hash the deployment that it is pinned to, or none, and whether it must be written again soon. `is_first`: of '+hash'.
local function pins_read(domain, policy, words, now)
  local ttl_ms, turn, pins = policy.affinity_ttl_ms, domain.affinity_turn or 0, {}
  if words == '' or not ttl_ms then return nil end
  for mark, hash in string.gmatch(words, '(%+?)([^%s+]+)') do
    local value = redis.call('HGET', pins_key(domain, turn), hash)
    local older = not value and redis.call('HGET', pins_key(domain, turn + 1), hash)
    local at_ms, sign, id = string.match(value or older or '', PIN)
    local age_ms, is_first = id and now - at_ms or ttl_ms, mark == '+'
    if age_ms >= ttl_ms then id, sign = nil, nil end
    local is_due = not value or age_ms * PINS_REFRESH >= ttl_ms or sign == '?'
    local is_hidden = is_first and sign == '?'
    pins[#pins + 1] = { hash = hash, id = not is_hidden and id or nil, is_due = is_due, is_first = is_first,
      is_hidden = is_hidden }
  end
  return pins
end

-- `entries`: hash, value ...
local function pins_write(domain, policy, entries, now)
  local turn, count = domain.affinity_turn or 0, domain.affinity_count or 0
  local age_ms = now - (domain.affinity_since_ms or 0)
  local is_over = age_ms >= policy.affinity_ttl_ms or count * 2 >= policy.affinity_entries
  if is_over then
    turn, count = turn + 1, 0
    redis.call('DEL', pins_key(domain, turn))
    record_set(domain, 'affinity_turn', turn)
    record_set(domain, 'affinity_since_ms', now)
  end
  count = count + redis.call('HSET', pins_key(domain, turn), unpack(entries))
  if count ~= domain.affinity_count then record_set(domain, 'affinity_count', count) end
  if is_over then redis.call('PEXPIRE', pins_key(domain, turn), 2 * policy.affinity_ttl_ms) end
end
