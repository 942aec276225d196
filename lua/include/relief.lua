--- @include "record"
-- Relief: another deployment that can take the traffic of this one. Slowness opens a breaker only where there is some,
-- because refusing callers who have nowhere else to go helps no one of them. Each first decision notes it for the
-- candidates of the model itself (tier 0); a fallback that is slow there is judged by the requests for its own model.
local RELIEF_NOTED_MS, RELIEF_FRESH_MS = 1000, 60000  -- one write a second; calls may be long between two decisions

local function relief_takes(c, policy)
  return c.verdict == 'eligible' and not c.probe and (c.deployment.consecutive_slow or 0) < policy.slow_limit
end

local function relief_note(candidates, policy, now)
  local takers, last = 0, nil
  for _, c in ipairs(candidates) do
    if relief_takes(c, policy) then takers, last = takers + 1, c end
  end
  for _, c in ipairs(candidates) do
    local d = c.deployment
    if c.tier > 0 then break end
    if takers > 1 or (takers == 1 and last ~= c) then
      if now - (d.relief_at_ms or 0) >= RELIEF_NOTED_MS then record_set(d, 'relief_at_ms', now) end
    else
      record_set(d, 'relief_at_ms', nil)
    end
  end
end

local function relief_is_there(d, now)
  return d.relief_at_ms ~= nil and now - d.relief_at_ms <= RELIEF_FRESH_MS
end
