--- @include "store/record"
-- Relief: another candidate of the same decision could take the traffic of a deployment. Slowness opens a breaker only
-- with relief, because callers of the only usable deployment gain nothing when it is closed to them. First attempts
-- note it for the deployments of tier 0, before the limits of the tenant apply: a further attempt has fewer candidates,
-- and a deployment of a later tier is not judged by the chain of another model. `relief_at_ms` is written once a second
-- and removed by the first decision without relief; it lasts a minute, as a slow call ends long after its decision.
local RELIEF_MS, RELIEF_EVERY_MS = 60000, 1000

local function relief_note(candidates, policy, now)
  local able, last = 0, nil
  for _, c in ipairs(candidates) do
    local d = c.deployment
    local is_able = c.verdict == 'eligible' and d.state == 'closed' and (d.consecutive_slow or 0) < policy.slow_limit
    if is_able then able, last = able + 1, c end
  end
  for _, c in ipairs(candidates) do
    local d = c.tier == 0 and c.deployment
    if d and (able > 1 or able == 1 and last ~= c) then
      if now - (d.relief_at_ms or 0) >= RELIEF_EVERY_MS then record_set(d, 'relief_at_ms', now) end
    elseif d then
      record_set(d, 'relief_at_ms', nil)
    end
  end
end

local function relief_is_there(d, now)
  return d.relief_at_ms ~= nil and now - d.relief_at_ms <= RELIEF_MS
end
