--- @include "store/record"
-- A deployment's hash. Live: state, generation, open_until_ms, open_reason, changed_at_ms, trips, consecutive_failures,
-- consecutive_slow, probes_issued, probes_succeeded, probe_deadline_ms, requests, failures, slow, p50_ms, p95_ms,
-- p99_ms, avg_ms, health_score, refreshed_at_ms, ewma_ms, ewma_at_ms, active, cool_until_ms, arrival_at_ms,
-- tokens_at_ms, current_weight, forced_by, waiters, adapted, adapted_at_ms, cut_at_ms, of a gradient long_ms,
-- short_sum_ms, short_calls, short_since_ms, relief_at_ms,
-- last_resort_at_ms, cache_hit, baseline_plain, baseline_stream, of health checks checked_at_ms, check_status (HTTP, 0:
-- no answer), check_ended (the generation whose cooldown one ended), and `unsupported:<kind>` of a call whose endpoint
-- it lacks.
-- Policy, by `configure`: config_version, lease_ms, limit, priority, weight, price, rpm, tpm, concurrency, cooldown_ms,
-- latency_threshold_ms (absent: relative), token_allowance_ms, region, group (absent: alone in it), group_size. Any
-- other absent field means its zero.
-- `domain`: where the library keeps it, if given.
local function deployment_read(key, domain)
  local records = domain and domain.records
  if records and records[key] then return records[key] end
  local deployment = record_read(key)
  if records then records[key] = deployment end
  deployment.id = string.match(key, ':deployment:(.+)$')
  return deployment
end

-- Active requests are the leases that have not expired; the set itself is swept when it is written. Counted from the
-- next whole ms, because the marks of a lease are fractions and must not make it last longer.
local function deployment_active(leases_key, deployment, now)
  return redis.call('ZCOUNT', leases_key, now - deployment.lease_ms + 1, '+inf')
end
