--- @include "probe"
--- @include "fair"
-- What a grant leaves in the deployment's hash.
local function grant_note(picked, ask, now)
  local d = picked.deployment
  if picked.probe then probe_issue(d, now) end
  if picked.arrival_at_ms then record_set(d, 'arrival_at_ms', decimal(picked.arrival_at_ms, 3)) end
  if picked.tokens_at_ms then record_set(d, 'tokens_at_ms', decimal(picked.tokens_at_ms, 3)) end
  record_set(d, 'active', picked.active + 1)
  fair_note(d, ask, true, now)
end
