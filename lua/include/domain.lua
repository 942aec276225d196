--- @include "clock"
--- @include "record"
-- The domain's own hash: epoch, sequence and clock of every decision, and what load shedding remembers
-- (shed_reasons, healthy_ratio, evaluated_at_ms, window_requests, window_failures, window_at_ms, retry_tokens,
-- retry_at_ms). `fields`: only these, when given; epoch, sequence and clock_ms are always needed.
local function domain_read(key, fields)
  local domain = record_read(key, fields)
  domain.now = clock_now(key, domain.clock_ms or 0)
  return domain
end

-- Every call that may write gets the next sequence number: replies sorted by it are the true order of events.
-- An absent epoch (first start, flush, empty replica promoted) is replaced by the caller's.
local function domain_advance(domain, epoch)
  if not domain.epoch then record_set(domain, 'epoch', epoch) end
  record_set(domain, 'sequence', (domain.sequence or 0) + 1)
  record_set(domain, 'clock_ms', domain.now)
end
