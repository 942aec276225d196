--- @include "store/remembered"
-- What a library keeps of a domain from one decision to the next: its record, its policy and the records of its
-- deployments by key, all as they are stored. Every call that may write gets the next sequence number, so they are
-- current while epoch, sequence and clock of the domain are those that this library wrote last. Whatever other scripts,
-- versions or masters have written is seen at the next call, and after KEPT_MS what an operator has written by hand.
-- A record is out of use once its call has failed: it may hold what was never written.
local KEPT_MS, KEPT_MOST = 250, 32

-- Returns the domain's record, or nil.
local function kept_take(key, store_ms)
  local domain = remembered.domains and remembered.domains[key]
  if not domain or domain.is_taken then return nil end
  domain.is_taken = true
  local age_ms = store_ms - domain.kept_since_ms
  if age_ms < 0 or age_ms >= KEPT_MS then return nil end
  local stored = redis.call('HMGET', key, 'sequence', 'clock_ms', 'epoch')
  local is_current = tonumber(stored[1]) == domain.sequence and tonumber(stored[2]) == domain.clock_ms
    and stored[3] == domain.epoch
  return is_current and domain or nil
end

-- Begins what may be kept of a domain that was just read as a whole.
local function kept_begin(domain, store_ms)
  if outlives then domain.is_taken, domain.kept_since_ms, domain.records = true, store_ms, {} end
  return domain
end

-- Keeps the domain for the next decision. The last act of a call: everything that changed has been written.
local function kept_put(domain)
  if not outlives then return end
  local domains = remembered.domains
  if not domains or remembered.count >= KEPT_MOST and not domains[domain.key] then
    domains, remembered.count = {}, 0
    remembered.domains = domains
  end
  if not domains[domain.key] then remembered.count = remembered.count + 1 end
  domains[domain.key], domain.is_taken = domain, false
end
