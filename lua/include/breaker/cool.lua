--- @include "store/record"
-- A deployment cools for as long as its provider demands, or for a moment when it throttles without a Retry-After.
local COOL_DEFAULT_MS = 1000

local function cool_note(d, call, policy, now)
  local cool_ms, outcome = call.retry_after_ms, call.outcome
  local is_asked = cool_ms > 0 and (outcome == 'overloaded' or outcome == 'success')
  if outcome ~= 'throttled' and not is_asked then return end
  if cool_ms == 0 then cool_ms = COOL_DEFAULT_MS end
  if policy then cool_ms = math.min(policy.max_cooldown_ms, cool_ms) end
  record_set(d, 'cool_until_ms', math.max(d.cool_until_ms or 0, now + cool_ms))
end
