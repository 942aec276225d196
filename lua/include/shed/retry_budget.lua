--- @include "store/record"
-- Cluster-wide retry budget (Finagle): a first attempt deposits a fraction, a further attempt takes one, and a
-- floor per second lets a quiet domain retry. Capped, so that a quiet hour does not buy a retry storm.
local RETRY_TOKENS_START, RETRY_TOKENS_MOST = 30, 100

-- Returns the new balance, or nil when a further attempt is not covered. Attempt 0 repeats no failure.
local function retry_budget(domain, policy, attempt)
  local elapsed_s = (domain.now - (domain.retry_at_ms or domain.now)) / 1000
  local tokens = (domain.retry_tokens or RETRY_TOKENS_START) + elapsed_s * policy.retry_floor_per_second
  tokens = math.min(RETRY_TOKENS_MOST, tokens)
  if attempt == 0 then return tokens end
  if attempt == 1 then return math.min(RETRY_TOKENS_MOST, tokens + policy.retry_ratio) end
  if tokens < 1 then return nil end
  return tokens - 1
end

local function retry_take(domain, budget)
  record_set(domain, 'retry_tokens', decimal(budget, 4))
  record_set(domain, 'retry_at_ms', domain.now)
end
