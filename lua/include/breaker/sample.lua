--- @include "window/baseline"
-- The sample of one finished call: its additions to the counts of the deployment's window.
local JUDGE_FAILED = { failure = true, timeout = true, overloaded = true }

-- A call is slow when it exceeds its own allowance: a long answer is not a slow provider. Unknown threshold: not slow.
local function judge_slow(sample, d)
  local threshold = sample.own_ms and baseline_threshold(d, sample.stream)
  sample.slow = threshold and sample.own_ms > threshold and 1 or 0
end

local function judge_sample(call, d)
  local own_ms = call.latency_ms
  if not call.stream then own_ms = own_ms - call.output_tokens * d.token_allowance_ms end
  local succeeded, failed = call.outcome == 'success', JUDGE_FAILED[call.outcome]
  local sample = {
    calls = (succeeded or failed) and 1 or 0,
    failures = failed and 1 or 0,
    throttled = call.outcome == 'throttled' and 1 or 0,
    tokens = call.output_tokens,
    is_unused = failed or call.outcome == 'throttled' or call.outcome == 'unsupported',  -- unless its tokens are known
    latency_ms = succeeded and call.latency_ms or nil,
    own_ms = succeeded and own_ms or nil,
    stream = call.stream,
  }
  judge_slow(sample, d)
  return sample
end
