--- @include "store/record"
-- Local candidates first. Where replicas have a region, a decision has one more key than its candidates have,
-- `rtt:<region>`: a HASH of round trips in ms from there, by deployment. A candidate of another region is `away`; one
-- without a region is at home everywhere.
local REGION_NEAR, REGION_NEAR_MS = 1.25, 5  -- as near as the nearest: a smaller difference is chance

-- `keys` from `first` on: three per candidate, and that one.
local function region_apply(candidates, keys, first)
  if (#keys - first) % 3 ~= 0 then return end
  candidates.rtt_key = keys[#keys]
  local own = string.match(candidates.rtt_key, '}:rtt:(.+)$')
  for _, c in ipairs(candidates) do
    c.away = c.deployment.region and c.deployment.region ~= own
  end
end

local function region_rtts(candidates, rtt_key)
  local ids = {}
  for position, c in ipairs(candidates) do ids[position] = c.deployment.id end
  local values = redis.call('HMGET', rtt_key, unpack(ids))
  for position, c in ipairs(candidates) do c.rtt_ms = tonumber(values[position] or nil) end
end

-- Returns those of one tier that are away, as groups of the same distance, nearest first; unmeasured ones are farthest.
local function region_rings(group, rtt_key)
  region_rtts(group, rtt_key)
  table.sort(group, function(one, other)
    local first, second = one.rtt_ms or math.huge, other.rtt_ms or math.huge
    return first < second or (first == second and one.position < other.position)
  end)
  local rings, most_ms = {}, -1
  for _, c in ipairs(group) do
    local rtt_ms = c.rtt_ms or math.huge
    if rtt_ms > most_ms then
      rings[#rings + 1], most_ms = {}, rtt_ms * REGION_NEAR + REGION_NEAR_MS
    end
    c.ring = #rings
    table.insert(rings[c.ring], c)
  end
  return rings
end
