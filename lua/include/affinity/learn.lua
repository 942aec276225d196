--- @include "store/record"
--- @include "affinity/pins"
-- What a call's end shows of its pins. `text`: '=<0..1>', the share of a pinned call's prompt that the provider read
-- from its cache, or the keyed hashes of a call that its deployment did not serve, or ''.
-- `cache_hit` of a deployment is the moving average of that share over about AFFINITY_CALLS samples; absent, it is 1: a
-- cache is taken to hold until it was measured.
local AFFINITY_CALLS, AFFINITY_DIGITS = 8, 3

local function affinity_measure(d, share)
  local before = d.cache_hit or 1
  local after = decimal(before + (share - before) / AFFINITY_CALLS, AFFINITY_DIGITS)
  if tonumber(after) ~= before then record_set(d, 'cache_hit', after) end
end

-- Only served calls make pins: a pin ends with a call that its deployment did not serve. The older of the two HASHes
-- may still have where the session was before, so the pin is removed from both.
local function affinity_unpin(domain, id, words)
  local turn = domain.affinity_turn or 0
  for hash in string.gmatch(words, '[^%s+]+') do
    local value = redis.call('HGET', pins_key(domain, turn), hash)
      or redis.call('HGET', pins_key(domain, turn + 1), hash)
    if value and select(3, string.match(value, PIN)) == id then
      redis.call('HDEL', pins_key(domain, turn), hash)
      redis.call('HDEL', pins_key(domain, turn + 1), hash)
    end
  end
end

local function affinity_learn(domain, d, text)
  local share = tonumber(string.match(text, '^=(.+)$'))
  if share then affinity_measure(d, clamp(share, 0, 1)) else affinity_unpin(domain, d.id, text) end
end
