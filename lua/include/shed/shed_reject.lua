--- @include "shed/shed"
-- The reason to reject a request of this priority (0 critical to 100 bulk), or nil. Cubic priority cut after Netflix,
-- random rejection after Google SRE's client throttling.
local function shed_reject(domain, policy, reasons, active, priority, random)
  local draw = random()
  if active >= policy.max_active then return 'active_requests' end
  if priority > 0 and active >= policy.max_active * (1 - policy.critical_reserve) then return 'critical_reserve' end
  local cut = 100 * (1 - clamp((active / policy.max_active - 0.7) / 0.3, 0, 1) ^ 3)
  if priority > cut then return 'priority' end
  if priority > 50 and string.find(reasons, 'healthy_ratio', 1, true) then return 'healthy_ratio' end
  if priority > 0 and string.find(reasons, 'failure_rate', 1, true) then
    local n, successes = domain.window_requests, domain.window_requests - domain.window_failures
    local share = clamp((n - successes / (1 - policy.max_failure_rate)) / (n + 1), 0, 0.8)
    if draw < share then return 'failure_rate' end
  end
  return nil
end
