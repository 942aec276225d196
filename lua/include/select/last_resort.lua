--- @include "select/resort_serving"
-- The last resort, when no candidate of any tier is eligible: first a deployment that serves, though slowly or on
-- trial. Otherwise one probe a second for all candidates that are open for other reasons, before the cooldown is over,
-- so that a recovered provider serves again soon. The breaker stays as it is; settle moves it.
local RESORT_EVERY_MS = 1000

-- Waiting for room, where that is possible, serves a request better than a failing provider.
local function resort_probe(candidates, now, ask)
  local last, picked = 0, nil
  for _, c in ipairs(candidates) do
    last = math.max(last, c.deployment.last_resort_at_ms or 0)
    if c.verdict == 'full' or c.verdict == 'behind' or c.verdict == 'rate_limited' then return nil end
  end
  local rest_ms = last + RESORT_EVERY_MS - now
  for _, c in ipairs(candidates) do
    if c.verdict == 'open' and c.becomes ~= 'open' then
      local verdict, room_ms = room_check(c, c.limit, now, ask.tokens)
      c.wait_ms = math.min(c.wait_ms, math.max(rest_ms > 0 and rest_ms or RESORT_EVERY_MS, room_ms or 0))
      local at_ms = c.deployment.last_resort_at_ms or 0
      local is_longer = picked and picked.tier == c.tier and at_ms < (picked.deployment.last_resort_at_ms or 0)
      if not verdict and rest_ms <= 0 and (not picked or is_longer) then picked = c end
    end
  end
  if picked then record_set(picked.deployment, 'last_resort_at_ms', now) end
  return picked
end

-- `tiers`: as of `acquire`; with a `+` at their end more candidates follow, in another domain. A deployment there does
-- not have what an owner holds.
local function resort_pick(candidates, policy, tiers, now, ask)
  local has_more = string.find(tiers, '+', 1, true) and not candidates.owner
  if not policy.last_resort or has_more then return nil end
  local picked = resort_serving(candidates, now, ask) or resort_probe(candidates, now, ask)
  if picked then
    picked.verdict, picked.resort, picked.probe = 'last_resort', true, picked.deployment.state == 'open'
  end
  return picked
end
