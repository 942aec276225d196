--- @include "store/number"
-- Load shedding on numbers of the whole domain, so that every replica sheds alike. The reasons are kept and each
-- has hysteresis: it ends a margin below where it began.
--   active_requests  active >= max_active; ends under 90 % of it, SHED_HOLD_MS after it was last full: short calls
--                    leave more than a tenth free, and a moment later it is full again
--   healthy_ratio    share of healthy deployments < min_healthy_ratio; ends at the ratio + 0.05
--   failure_rate     requests by final outcome > max_failure_rate with >= 20 in the window and 5 per second;
--                    ends under 80 % of it
local SHED_RETRY_AFTER_MS, SHED_MIN_REQUESTS, WINDOW_SECONDS, SHED_HOLD_MS = 1000, 20, 50, 2000

local function shed_busy_enough(n)
  return n >= math.max(SHED_MIN_REQUESTS, 5 * WINDOW_SECONDS)
end

local function shed_reasons(domain, policy, active)
  local before, reasons = domain.shed_reasons or '', ''
  local function holds(name, on, still_on)
    if on or (still_on and string.find(before, name, 1, true)) then
      reasons = reasons == '' and name or reasons .. ',' .. name
    end
  end
  local n, failures = domain.window_requests or 0, domain.window_failures or 0
  local rate, ratio = n > 0 and failures / n or 0, tonumber(domain.healthy_ratio or 1)
  if active >= policy.max_active then record_set(domain, 'full_at_ms', domain.now) end
  local was_full = domain.now - (domain.full_at_ms or 0) < SHED_HOLD_MS
  holds('active_requests', active >= policy.max_active, active >= 0.9 * policy.max_active or was_full)
  holds('healthy_ratio', ratio < policy.min_healthy_ratio, ratio < policy.min_healthy_ratio + 0.05 and ratio < 1)
  holds('failure_rate', shed_busy_enough(n) and rate > policy.max_failure_rate,
    shed_busy_enough(n) and rate > 0.8 * policy.max_failure_rate)
  return reasons
end

-- Stores the reasons; returns the transition if they have changed.
local function shed_change(domain, reasons, cause)
  local before = domain.shed_reasons or ''
  if reasons == before then return nil end
  record_set(domain, 'shed_reasons', reasons)
  return { subject = 'load_shedding', from = before, to = reasons, reason = cause, generation = 0 }
end
