--- @include "window/window_read"
--- @include "store/deployment"
-- Health score, 0 to 100:  100 * (0.6 * error_factor + 0.4 * speed_factor) * {closed 1, half_open 0.5, open 0}
--   error_factor = clamp(1 - error_rate / 0.5),  error_rate = (failures + 0.1) / (calls + 10): shrunk towards 1 %
--   speed_factor = clamp(1 - slow_rate / 0.5),   slow by each call's own allowance
local STATE_FACTOR = { closed = 1, half_open = 0.5, open = 0, forced_open = 0, disabled = 0 }

local function error_factor(d)
  return clamp(1 - (((d.failures or 0) + 0.1) / ((d.requests or 0) + 10)) / 0.5, 0, 1)
end

-- `errors`: its error factor, where the caller knows it.
local function health_score(d, state, errors)
  local requests = d.requests or 0
  local slow_rate = requests > 0 and (d.slow or 0) / requests or 0
  return 100 * (0.6 * (errors or error_factor(d)) + 0.4 * clamp(1 - slow_rate / 0.5, 0, 1)) * STATE_FACTOR[state]
end

-- Returns whether it counts as healthy for load shedding. A breaker that waits for a probe does, because otherwise
-- shedding could keep away the very requests that it needs to recover.
local function health_is_good(d, policy, now)
  local state = d.state
  if state == 'open' or state == 'half_open' then
    if not policy.breaker_enabled then state = 'closed' end
    if state == 'open' and now >= d.open_until_ms then return true end
    local is_free = (d.probes_issued or 0) < policy.probes or now >= (d.probe_deadline_ms or now)
    if state == 'half_open' and is_free then return true end
  end
  return health_score(d, state) > 50
end

-- Window sums become the readable summary of the deployment's hash. An expired window reads as no calls.
local function health_refresh(d, sums, now)
  record_set(d, 'requests', round(sums.calls))
  record_set(d, 'failures', round(sums.failures))
  record_set(d, 'slow', round(sums.slow))
  record_set(d, 'p50_ms', round(window_percentile(sums, 0.50)))
  record_set(d, 'p95_ms', round(window_percentile(sums, 0.95)))
  record_set(d, 'p99_ms', round(window_percentile(sums, 0.99)))
  record_set(d, 'avg_ms', sums.samples > 0 and round(sums.latency_ms / sums.samples) or 0)
  record_set(d, 'refreshed_at_ms', now)
  record_set(d, 'health_score', decimal(health_score(d, d.state), 1))
end
