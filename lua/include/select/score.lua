--- @include "breaker/health"
-- merit = health * (w_load * load_factor + w_latency * latency_factor + w_error * error_factor). Candidates see the
-- same mix of calls, so their raw latencies can be compared. The score is the merit times the slow start of a breaker
-- that closed a moment ago (10 % rising to 100 %).
local SLOW_START_FROM = 0.1

local function score_ramp(d, policy, now)
  if d.generation == 0 or not d.changed_at_ms then return 1 end
  return clamp((now - d.changed_at_ms) / policy.slow_start_ms, SLOW_START_FROM, 1)
end

local function score_all(candidates, policy, now)
  local fastest
  for _, c in ipairs(candidates) do
    local ewma = c.deployment.ewma_ms
    if c.verdict == 'eligible' and ewma and (not fastest or ewma < fastest) then fastest = ewma end
  end
  for _, c in ipairs(candidates) do
    local d = c.deployment
    local latency = d.ewma_ms and fastest and d.ewma_ms > 0 and clamp(fastest / d.ewma_ms, 0.1, 1) or 1
    local errors = error_factor(d)
    c.health = health_score(d, c.state, errors)
    c.ramp = c.state == 'closed' and score_ramp(d, policy, now) or 1
    c.merit = c.health * (policy.load_weight * clamp(1 - c.active / c.limit, 0, 1)
      + policy.latency_weight * latency + policy.error_weight * errors)
    c.score = c.merit * c.ramp
  end
end
