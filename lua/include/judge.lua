--- @include "breaker"
--- @include "probe"
-- What one finished call says about its deployment. Failures count for the breaker; slow successes count as slow;
-- throttled, client_error, cancelled and unsupported are neutral.
local JUDGE_FAILED = { failure = true, timeout = true, overloaded = true }

-- A call is slow when it exceeds its own allowance: a long answer is not a slow provider.
local function judge_sample(call, d)
  local allowance = d.latency_threshold_ms
  if not call.stream then allowance = allowance + call.output_tokens * d.token_allowance_ms end
  local succeeded, failed = call.outcome == 'success', JUDGE_FAILED[call.outcome]
  return {
    calls = (succeeded or failed) and 1 or 0,
    failures = failed and 1 or 0,
    slow = succeeded and call.latency_ms > allowance and 1 or 0,
    throttled = call.outcome == 'throttled' and 1 or 0,
    tokens = call.output_tokens,
    is_unused = failed or call.outcome == 'throttled' or call.outcome == 'unsupported',  -- unless its tokens are known
    latency_ms = succeeded and call.latency_ms or nil,
  }
end

local function judge_closed(d, policy, sample, sums)
  if sample.failures == 1 then
    record_set(d, 'consecutive_failures', (d.consecutive_failures or 0) + 1)
  elseif sample.calls == 1 then
    record_set(d, 'consecutive_failures', nil)
    record_set(d, 'consecutive_slow', sample.slow == 1 and (d.consecutive_slow or 0) + 1 or nil)
  end
  if not policy or not policy.breaker_enabled then return nil end
  if (d.consecutive_failures or 0) >= policy.failure_threshold then return 'consecutive_failures' end
  if (d.consecutive_slow or 0) >= policy.slow_limit then return 'consecutive_slow' end
  if not sums or sums.calls < policy.min_calls then return nil end
  if sample.failures == 1 and sums.failures / sums.calls >= policy.failure_rate then return 'failure_rate' end
  if sample.slow == 1 and sums.slow / sums.calls >= policy.slow_rate then return 'slow_rate' end
  return nil
end

-- Returns 'close', the reason to open again, or nil.
local function judge_probe(d, policy, sample)
  if sample.failures == 1 then return 'probe_failed' end
  if sample.slow == 1 then return 'probe_slow' end
  if sample.calls == 0 then
    probe_give_back(d)
    return nil
  end
  probe_succeed(d)
  return d.probes_succeeded >= policy.probe_successes and 'close' or nil
end
