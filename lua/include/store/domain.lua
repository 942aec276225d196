--- @include "store/clock"
--- @include "store/kept"
--- @include "store/record"
-- The domain's own hash: epoch, sequence and clock of every decision, waiting_until_ms, what load shedding remembers
-- (shed_reasons, full_at_ms, healthy_ratio, evaluated_at_ms, window_requests, window_failures, window_at_ms,
-- retry_tokens, retry_at_ms), of groups of deployments failing_until_ms and suspect_until_ms, of pins affinity_turn,
-- _since_ms, _count and _secret. Until learning_until_ms of an epoch replicas send what the store has lost.
-- `fields`: only these, when given; epoch, sequence and clock_ms are always needed.
-- `domain.now` never runs back. When the store's clock is behind the recorded time, it waits; after a longer step back
-- (set by hand, failover to another machine) it continues from there by an offset, or everything would stand still.
local SCHEMA, LEARNING_MS, CLOCK_STEP_MS = 1, 5000, 1000

local function domain_read(key, fields)
  local store_ms = clock_ms(key)
  local domain = kept_take(key, store_ms) or kept_begin(record_read(key, fields), store_ms)
  local recorded_ms = domain.clock_ms or 0
  domain.now, domain.offset_ms = store_ms + (domain.clock_offset_ms or 0), nil
  if domain.now < recorded_ms then
    if recorded_ms - domain.now > CLOCK_STEP_MS then domain.offset_ms = recorded_ms - store_ms end
    domain.now = recorded_ms
  end
  return domain
end

-- Every call that may write gets the next sequence number: sorting replies by it gives the true order of events.
-- An absent epoch (first start, flush, empty replica promoted) is replaced by the caller's.
local function domain_advance(domain, epoch)
  if not domain.epoch then
    record_set(domain, 'epoch', epoch)
    record_set(domain, 'schema', SCHEMA)
    record_set(domain, 'learning_until_ms', domain.now + LEARNING_MS)
  end
  record_set(domain, 'sequence', (domain.sequence or 0) + 1)
  record_set(domain, 'clock_ms', domain.now)
  if domain.offset_ms then record_set(domain, 'clock_offset_ms', domain.offset_ms) end
end

-- Values of another version under these keys must not be touched: returns the error to reply with, or nil.
local function domain_foreign(domain)
  if not domain.epoch or domain.schema == SCHEMA then return nil end
  return redis.error_reply('SCHEMA of ' .. domain.key .. ' is ' .. tostring(domain.schema) .. ', this version writes '
    .. SCHEMA)
end
