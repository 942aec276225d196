--- @include "admit"
-- The last resort, when no candidate of any tier is eligible. First those that serve, though badly or on trial: opened
-- for slowness, or half-open after a good probe; each within half its limit, the earliest tier first, in it the one
-- that would answer soonest. Else one probe a second for all candidates that are open for other reasons, before the
-- cooldown is over, so that a recovered provider serves again soon. The breaker stays as it is; settle moves it.
local RESORT_EVERY_MS, RESORT_SLOW = 1000, { consecutive_slow = true, slow_rate = true, probe_slow = true }

local function resort_serves(d)
  return d.state == 'open' and RESORT_SLOW[d.open_reason] or d.state == 'half_open' and (d.probes_succeeded or 0) > 0
end

-- Where a request could wait for room, that serves it better than a provider that fails.
local function resort_probe_wait_ms(candidates, now)
  local last = 0
  for _, c in ipairs(candidates) do
    last = math.max(last, c.deployment.last_resort_at_ms or 0)
    if c.verdict == 'full' or c.verdict == 'behind' or c.verdict == 'rate_limited' then return nil end
  end
  return math.max(0, last + RESORT_EVERY_MS - now)
end

-- `tiers`: as of `acquire`; with a `+` at their end more candidates follow, in another domain.
local function resort_pick(candidates, policy, tiers, now, tokens)
  if not policy.last_resort or string.find(tiers, '+', 1, true) then return nil end
  local serving, probe, probe_wait_ms = nil, nil, resort_probe_wait_ms(candidates, now)
  for _, c in ipairs(candidates) do
    local d, verdict = c.deployment, nil
    if (c.verdict == 'open' or c.verdict == 'probing') and c.becomes ~= 'open' then
      local is_serving = resort_serves(d)
      verdict = room_check(c, is_serving and math.max(1, math.floor(c.limit / 2)) or c.limit, now, tokens)
      c.sooner = (d.ewma_ms or 0) * (c.active + 1)
      if is_serving then
        c.wait_ms = math.min(c.wait_ms, UNKNOWN_WAIT_MS)
        if not verdict and (not serving or serving.tier == c.tier and c.sooner < serving.sooner) then serving = c end
      elseif d.state == 'open' and probe_wait_ms then
        c.wait_ms = math.min(c.wait_ms, probe_wait_ms > 0 and probe_wait_ms or RESORT_EVERY_MS)
        local at_ms = d.last_resort_at_ms or 0
        local is_longer = probe and probe.tier == c.tier and at_ms < (probe.deployment.last_resort_at_ms or 0)
        if not verdict and probe_wait_ms == 0 and (not probe or is_longer) then probe = c end
      end
    end
  end
  local picked = serving or probe
  if picked then
    picked.verdict, picked.resort, picked.probe = 'last_resort', true, picked.deployment.state == 'open'
    if not serving then record_set(picked.deployment, 'last_resort_at_ms', now) end
  end
  return picked
end
