--- @include "store/remembered"
-- The router's settings as every replica must apply them; written by `configure`. JSON, because one GET and cjson cost
-- a third of reading the same fields from a hash, and redis-cli still shows words. Fields: version and fingerprint of
-- the configuration, breaker_enabled, last_resort, failure_threshold, min_calls, failure_rate, slow_limit, slow_rate,
-- max_cooldown_ms, group_share, probes, probe_successes, slow_start_ms, trip_memory_ms, load_weight, latency_weight,
-- error_weight, min_health, fallback_advantage, max_active, critical_reserve, min_healthy_ratio, max_failure_rate,
-- retry_ratio, retry_floor_per_second, and with affinity
-- affinity_ttl_ms, affinity_band, affinity_entries.
-- A library decodes a text once. No script changes what it gets.
local POLICIES_MOST = 16  -- domains share a store

-- `domain`: where the library keeps it, if given.
local function policy_read(key, domain)
  if domain and domain.policy then return domain.policy end
  local text = redis.call('GET', key)
  if not text then return text end
  local policies = remembered.policies or { count = 0 }
  local policy = policies[text] or cjson.decode(text)
  if outlives and not policies[text] then
    if policies.count >= POLICIES_MOST then policies = { count = 0 } end
    policies[text], policies.count, remembered.policies = policy, policies.count + 1, policies
  end
  if domain and outlives then domain.policy = policy end
  return policy
end
