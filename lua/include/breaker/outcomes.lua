--- @include "store/domain"
--- @include "window/window_read"
-- The domain's window counts requests by their final outcome, not attempts: a request that a fallback saved is a
-- success, so a provider outage that fallbacks absorb sheds no request.
local function outcomes_refresh(domain, window_key, fresh_ms)
  if domain.now - (domain.window_at_ms or 0) < fresh_ms then return end
  local sums = window_read(redis.call('GET', window_key) or '', domain.now)
  record_set(domain, 'window_requests', round(sums.calls))
  record_set(domain, 'window_failures', round(sums.failures))
  record_set(domain, 'window_at_ms', domain.now)
end
