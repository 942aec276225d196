--- @include "breaker/breaker"
--- @include "limit/room"
-- Decides whether this candidate may take one more request now. Sets verdict, wait_ms (until it may change), state (as
-- this request sees it) and, where the breaker must move first, `becomes`. Nothing is written here.

local function admit_breaker(c, d, policy, now)
  local state = d.state
  if state == 'disabled' then return state, UNKNOWN_WAIT_MS end
  if state == 'forced_open' and (not d.open_until_ms or now < d.open_until_ms) then
    return state, d.open_until_ms and d.open_until_ms - now or UNKNOWN_WAIT_MS
  end
  if state == 'closed' or (not policy.breaker_enabled and state ~= 'forced_open') then return nil end
  if state == 'half_open' then
    if d.probe_deadline_ms and now >= d.probe_deadline_ms then
      c.becomes = 'open'
      return 'open', d.cooldown_ms
    end
    if (d.probes_issued or 0) >= policy.probes then
      return 'probing', math.min(UNKNOWN_WAIT_MS, (d.probe_deadline_ms or math.huge) - now)  -- one may end at any time
    end
  elseif now < d.open_until_ms then
    return 'open', d.open_until_ms - now
  else
    c.becomes = 'half_open'
  end
  c.probe = true
  return nil
end

-- `tokens`: how many the request is estimated to take; `kind`: of call, whose endpoint the deployment has to have.
local function admit(c, policy, now, tokens, kind)
  local d, rest_ms = c.deployment, (c.deployment['unsupported:' .. kind] or 0) - now
  if rest_ms > 0 then
    c.verdict, c.wait_ms, c.state = 'unsupported', rest_ms, d.state
  else
    c.verdict, c.wait_ms = admit_breaker(c, d, policy, now)
    c.state = c.becomes or (c.verdict and d.state) or (c.probe and 'half_open') or 'closed'
  end
  if not c.verdict then
    c.verdict, c.wait_ms = room_check(c, c.limit, now, tokens)
    c.verdict = c.verdict or 'eligible'
  end
end
