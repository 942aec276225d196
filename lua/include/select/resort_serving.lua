--- @include "select/admit"
--- @include "limit/fair"
-- Deployments that serve although their breaker is not closed: opened for slowness, or half-open after a successful
-- probe. Each serves up to half its limit; the earliest tier comes first, within it the one that would respond soonest.
local RESORT_SLOW = { consecutive_slow = true, slow_rate = true, probe_slow = true }

local function resort_serves(d)
  return d.state == 'open' and RESORT_SLOW[d.open_reason] or d.state == 'half_open' and (d.probes_succeeded or 0) > 0
end

-- A deployment without room gets the verdict of its limits, so that a request may wait for it as for any other.
local function resort_serving(candidates, now, ask)
  local picked
  for _, c in ipairs(candidates) do
    local is_refused = (c.verdict == 'open' or c.verdict == 'probing') and c.becomes ~= 'open'
    if is_refused and resort_serves(c.deployment) then
      local verdict, wait_ms = room_check(c, math.max(1, math.floor(c.limit / 2)), now, ask.tokens)
      if not verdict and fair_is_behind(c.deployment, ask, now) then verdict, wait_ms = 'behind', FAIR_WAIT_MS end
      c.sooner = (c.deployment.ewma_ms or 0) * (c.active + 1)
      if verdict then
        c.verdict, c.wait_ms = verdict, wait_ms
      elseif not picked or picked.tier == c.tier and c.sooner < picked.sooner then
        picked = c
      end
    end
  end
  return picked
end
