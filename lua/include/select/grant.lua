--- @include "breaker/breaker"
--- @include "breaker/probe"
--- @include "limit/fair"
-- The code in acquire's reply: 0 an ordinary call, 1 a probe, 2 a last resort that counts as a probe, 3 any other last
-- resort; 4 more where the request names what only the account of this deployment holds.
local function grant_code(probe, resort, is_owned)
  return (probe and 1 or 0) + (resort and (probe and 1 or 3) or 0) + (is_owned and 4 or 0)
end

-- Writes a grant to the deployment's hash.
local function grant_note(picked, ask, now)
  local d = picked.deployment
  if picked.probe and not picked.resort then probe_issue(d, now) end
  if picked.arrival_at_ms then record_set(d, 'arrival_at_ms', decimal(picked.arrival_at_ms, 3)) end
  if picked.tokens_at_ms then record_set(d, 'tokens_at_ms', decimal(picked.tokens_at_ms, 3)) end
  record_set(d, 'active', picked.active + 1)
  fair_note(d, ask, true, now)
end

-- Notes what a decision found of its candidates: probes that took too long, and whose turn it was.
local function candidates_note(candidates, picked, policy, now, random, transitions)
  for _, c in ipairs(candidates) do
    if c.becomes == 'open' then
      transitions[#transitions + 1] = breaker_open(c.deployment, policy, now, 'probe_deadline', random)
      c.wait_ms = c.deployment.open_until_ms - now
    end
    if picked and picked.turn and c.turn then record_set(c.deployment, 'current_weight', exact(c.turn)) end
  end
end
