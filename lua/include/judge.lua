--- @include "breaker"
--- @include "baseline"
--- @include "relief"
-- What one finished call says about its deployment. Failures count for the breaker; slow successes count as slow;
-- throttled, client_error, cancelled and unsupported are neutral.
local JUDGE_FAILED = { failure = true, timeout = true, overloaded = true }

-- A plain call is allowed some time for each of its tokens: a long answer is not a slow provider.
local function judge_sample(call, d)
  local allowance, threshold_ms = call.stream and 0 or call.output_tokens * d.token_allowance_ms, nil
  local succeeded, failed = call.outcome == 'success', JUDGE_FAILED[call.outcome]
  if succeeded then threshold_ms = baseline_threshold(d, call.stream) end
  return {
    calls = (succeeded or failed) and 1 or 0,
    failures = failed and 1 or 0,
    slow = threshold_ms and call.latency_ms > threshold_ms + allowance and 1 or 0,
    usual_ms = succeeded and math.max(0, call.latency_ms - allowance) or nil,
    throttled = call.outcome == 'throttled' and 1 or 0,
    tokens = call.output_tokens,
    is_unused = failed or call.outcome == 'throttled' or call.outcome == 'unsupported',  -- unless its tokens are known
    latency_ms = succeeded and call.latency_ms or nil,
  }
end

-- Returns the reason to open, or nil. A slow deployment that no other can relieve stays closed; it is counted, so that
-- the first slow answer after there is relief opens it.
local function judge_closed(d, policy, sample, sums, now)
  if sample.failures == 1 then
    record_set(d, 'consecutive_failures', (d.consecutive_failures or 0) + 1)
  elseif sample.calls == 1 then
    record_set(d, 'consecutive_failures', nil)
    record_set(d, 'consecutive_slow', sample.slow == 1 and (d.consecutive_slow or 0) + 1 or nil)
  end
  if not policy or not policy.breaker_enabled then return nil end
  if (d.consecutive_failures or 0) >= policy.failure_threshold then return 'consecutive_failures' end
  local is_slow = sample.slow == 1 and relief_is_there(d, now)
  if is_slow and d.consecutive_slow >= policy.slow_limit then return 'consecutive_slow' end
  if not sums or sums.calls < policy.min_calls then return nil end
  if sample.failures == 1 and sums.failures / sums.calls >= policy.failure_rate then return 'failure_rate' end
  if is_slow and sums.slow / sums.calls >= policy.slow_rate then return 'slow_rate' end
  return nil
end
