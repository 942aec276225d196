--- @include "breaker/breaker"
--- @include "breaker/sample"
--- @include "breaker/relief"
-- Judges a deployment by one finished call. Failures count for the breaker; slow successes count as slow;
-- throttled, client_error, cancelled and unsupported are neutral.
-- Slowness opens only with relief. The counts continue without it, so that the next slow response with relief opens it.
local function judge_closed(d, policy, sample, sums, now)
  if sample.own_ms then baseline_learn(d, sample.stream, math.max(0, sample.own_ms), now) end
  if sample.failures == 1 then
    record_set(d, 'consecutive_failures', (d.consecutive_failures or 0) + 1)
  elseif sample.calls == 1 then
    record_set(d, 'consecutive_failures', nil)
    record_set(d, 'consecutive_slow', sample.slow == 1 and (d.consecutive_slow or 0) + 1 or nil)
  end
  if not policy or not policy.breaker_enabled then return nil end
  if (d.consecutive_failures or 0) >= policy.failure_threshold then return 'consecutive_failures' end
  local is_slow = sample.slow == 1 and relief_is_there(d, now)
  if is_slow and (d.consecutive_slow or 0) >= policy.slow_limit then return 'consecutive_slow' end
  if not sums or sums.calls < policy.min_calls then return nil end
  if sample.failures == 1 and sums.failures / sums.calls >= policy.failure_rate then return 'failure_rate' end
  if is_slow and sums.slow / sums.calls >= policy.slow_rate then return 'slow_rate' end
  return nil
end
