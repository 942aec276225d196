--- @flag "no-writes"
--- @include "store/domain"
--- @include "store/policy"
--- @include "select/candidate"
--- @include "shed/shed"
--- @include "breaker/outcomes"
--- @include "shed/retry_budget"
--- @include "window/histogram"
--- @include "breaker/unsupported"
--- @include "breaker/last_error"
--- @include "window/baseline_view"
-- Read-only: the domain and its deployments as they stand now, computed from the windows, not from cached summaries.
--
-- KEYS  1 global HASH, 2 policy STRING (JSON), 3 leases ZSET, 4 window STRING, 5 replicas ZSET,
--       then per deployment: deployment HASH, leases ZSET, window STRING; with regions rtt:<region> HASH
-- ARGV  1 dead_after_ms, 2 detail: 0, 1 with the histogram of the window, 2 and with baselines and all that is stored
-- reply { epoch, sequence, now_ms, policy version, active, replicas alive, shed reasons, healthy ratio,
--         requests, failures (final outcomes in the window), retry tokens },
--       then per deployment a flat list: field, value ... ({} when not configured); stored fields as `stored.<field>`
local policy, domain = policy_read(KEYS[2]), domain_read(KEYS[1])
local now, detail = domain.now, tonumber(ARGV[2])
local active = redis.call('ZCOUNT', KEYS[3], '(' .. string.format('%d', now), '+inf')
outcomes_refresh(domain, KEYS[4], 0)
local alive = redis.call('ZCOUNT', KEYS[5], now - tonumber(ARGV[1]), '+inf')
local reasons = policy and shed_reasons(domain, policy, active) or ''
local reply = { { domain.epoch or '', domain.sequence or 0, now, policy and policy.version or 0, active, alive, reasons,
  tostring(domain.healthy_ratio or 1), domain.window_requests, domain.window_failures,
  tostring(policy and retry_budget(domain, policy, 0) or 0) } }

local ROW = { 'state', 'generation', 'health_score', 'active', 'limit', 'requests', 'failures', 'slow',
  'consecutive_failures', 'consecutive_slow', 'probes_issued', 'probes_succeeded', 'trips', 'open_reason', 'wait_ms',
  'oldest_ms', 'avg_ms', 'p50_ms', 'p95_ms', 'p99_ms', 'ewma_ms', 'baseline_ms', 'slow_above_ms',
  'rpm_headroom', 'tpm_headroom', 'region', 'rtt_ms', 'unsupported', 'last_error', 'last_error_at_ms', 'cache_hit' }
local rtt_key = (#KEYS - 6) % 3 == 0 and KEYS[#KEYS]
for k = 6, #KEYS - 2, 3 do
  local d, row = deployment_read(KEYS[k]), {}
  if d.config_version and policy then
    if detail == 2 then
      for position, word in ipairs(redis.call('HGETALL', KEYS[k])) do
        row[position] = position % 2 == 1 and 'stored.' .. word or word
      end
    end
    local sums = window_read(redis.call('GET', KEYS[k + 2]) or '', now)
    health_refresh(d, sums, now)
    d.rtt_ms = rtt_key and redis.call('HGET', rtt_key, d.id)
    d.unsupported, d.last_error_at_ms, d.last_error = unsupported_now(d, now), last_error_read(KEYS[k])
    if detail == 2 then baseline_show(d) end
    record_set(d, 'limit', adapt_limit(d))
    record_set(d, 'active', deployment_active(KEYS[k + 1], d, now))
    record_set(d, 'rpm_headroom', decimal(limit_headroom(d.arrival_at_ms, d.rpm, now), 3))
    record_set(d, 'tpm_headroom', decimal(limit_headroom(d.tokens_at_ms, d.tpm, now), 3))
    local oldest = redis.call('ZRANGE', KEYS[k + 1], 0, 0, 'WITHSCORES')
    record_set(d, 'oldest_ms', oldest[2] and math.max(0, now - math.floor(tonumber(oldest[2]))) or 0)
    record_set(d, 'wait_ms', d.open_until_ms and math.max(0, d.open_until_ms - now) or 0)
    for _, field in ipairs(ROW) do
      if d[field] then row[#row + 1], row[#row + 2] = field, tostring(d[field]) end
    end
    if detail > 0 then row[#row + 1], row[#row + 2] = 'histogram', histogram_text(sums) end
  end
  reply[#reply + 1] = row
end
return reply
