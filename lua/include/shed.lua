--- @include "number"
-- Load shedding on numbers of the whole domain, so that every replica sheds alike. The reasons are kept and each
-- has hysteresis: it ends a margin below where it began.
--   active_requests  active >= max_active; ends under 90 % of it
--   healthy_ratio    share of healthy deployments < min_healthy_ratio; ends at the ratio + 0.05
--   failure_rate     requests by final outcome > max_failure_rate with >= 20 in the window and 5 per second;
--                    ends under 80 % of it
local SHED_RETRY_AFTER_MS, SHED_MIN_REQUESTS, WINDOW_SECONDS = 1000, 20, 50

local function shed_busy_enough(n)
  return n >= math.max(SHED_MIN_REQUESTS, 5 * WINDOW_SECONDS)
end

local function shed_reasons(domain, policy, active)
  local before, reasons = domain.shed_reasons or '', {}
  local function holds(name, on, still_on)
    if on or (still_on and string.find(before, name, 1, true)) then reasons[#reasons + 1] = name end
  end
  local n, failures = domain.window_requests or 0, domain.window_failures or 0
  local rate, ratio = n > 0 and failures / n or 0, tonumber(domain.healthy_ratio or 1)
  holds('active_requests', active >= policy.max_active, active >= 0.9 * policy.max_active)
  holds('healthy_ratio', ratio < policy.min_healthy_ratio, ratio < policy.min_healthy_ratio + 0.05 and ratio < 1)
  holds('failure_rate', shed_busy_enough(n) and rate > policy.max_failure_rate,
    shed_busy_enough(n) and rate > 0.8 * policy.max_failure_rate)
  return table.concat(reasons, ',')
end

-- The reason to reject a request of this priority (0 critical to 100 bulk), or nil. Cubic priority cut after
-- Netflix, random rejection after Google SRE's client throttling.
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
