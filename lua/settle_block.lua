--- @flag "allow-oom"
--- @library "decisions"
--- @include "store/domain"
--- @include "store/policy"
--- @include "store/random"
--- @include "breaker/judge"
--- @include "breaker/group_note"
--- @include "lease/block"
--- @include "limit/waiting"
--- @include "breaker/cool"
--- @include "breaker/unsupported"
--- @include "breaker/last_error"
--- @include "limit/gradient"
--- @include "limit/limit"
--- @include "shed/retry_budget"
--- @include "window/window_block"
--- @include "store/event"
-- Ends many leases of blocks of one deployment, and learns from their outcomes in order, as settle would from each. A
-- second settle has no effect: removing the lease is the gate. Only results of its own generation move the breaker.
-- `unused`: the permit returns as it was granted, with its part of the rate limit and the retry budget.
--
-- KEYS  1 global HASH, 2 policy STRING (JSON), 3 leases ZSET, 4 window STRING, 5 events STREAM,
--       6 deployment HASH, 7 its leases ZSET, 8 its window STRING
-- ARGV  1 epoch to set if none, 2 seed (31-bit), then per call: token, outcome (as for settle | unused), generation,
--       latency_ms, stream (0 | 1), output_tokens, retry_after_ms (0 unknown), final outcome of its request (0 | 1),
--       ms since it was handed out, kind of call ('' unknown), reason of a failure in words, or ''
-- reply known (how many), state, generation, sequence, epoch, now_ms
local global_key, policy_key, leases_key, window_key, events_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local deployment_key, own_leases_key, own_window_key = KEYS[6], KEYS[7], KEYS[8]
local epoch, random, calls, FIELDS = ARGV[1], random_from(tonumber(ARGV[2])), {}, 11
local SUMMARY_DUE_MS, EWMA_TAU_MS = 250, 10000
local domain = domain_read(global_key, not outlives and { 'epoch', 'sequence', 'clock_ms', 'clock_offset_ms',
  'waiting_until_ms', 'retry_tokens', 'retry_at_ms', 'failing_until_ms', 'suspect_until_ms' })
local d, now, unused = deployment_read(deployment_key, domain), domain.now, 0
for k = 3, #ARGV, FIELDS do
  calls[#calls + 1] = { token = ARGV[k], outcome = ARGV[k + 1], generation = tonumber(ARGV[k + 2]),
    latency_ms = tonumber(ARGV[k + 3]), stream = ARGV[k + 4] == '1', output_tokens = tonumber(ARGV[k + 5]),
    retry_after_ms = tonumber(ARGV[k + 6]), final = ARGV[k + 7] == '1', start = now - tonumber(ARGV[k + 8]),
    kind = ARGV[k + 9], why = ARGV[k + 10] }
end
calls = block_end(leases_key, own_leases_key, calls)
domain_advance(domain, epoch)
if #calls == 0 or not d.config_version then
  record_write(domain)
  return { 0, d.state or '', d.generation or 0, domain.sequence, domain.epoch, now }
end
local policy, is_due, sums = policy_read(policy_key, domain), now - (d.refreshed_at_ms or 0) >= SUMMARY_DUE_MS, nil
for _, call in ipairs(calls) do
  call.sample = judge_sample(call, d)
  is_due = is_due or call.sample.failures == 1 or call.sample.slow == 1
  if call.outcome == 'unused' then unused = unused + 1 end
end
if is_due then sums = window_read(redis.call('GET', own_window_key) or '', now) end
local active, ewma, ewma_at = deployment_active(own_leases_key, d, now), d.ewma_ms, d.ewma_at_ms
local totals, finals, transitions = {}, { calls = 0, failures = 0 }, {}
for k, call in ipairs(calls) do
  local sample = call.sample
  judge_slow(sample, d)  -- again, because the calls before it may have moved the baseline
  -- A close starts a new window: permits from before it show nothing about now.
  if d.state ~= 'closed' or call.generation == d.generation then
    if call.outcome ~= 'unused' then window_gather(totals, sample) end
    if sums then window_include(sums, sample) end
    local x = sample.latency_ms  -- peak EWMA, as in settle
    if x then
      if ewma and x < ewma then x = ewma + (x - ewma) * (1 - math.exp(-(now - ewma_at) / EWMA_TAU_MS)) end
      ewma, ewma_at = x, now
    end
  end
  cool_note(d, call, policy, now)
  unsupported_learn(d, call.outcome, call.kind, now)
  if call.generation == d.generation and d.state == 'closed' then
    local reason = judge_closed(d, policy, sample, sums, now)
    local opened = reason and breaker_open(d, policy, now, reason, random, call.why) or nil
    transitions[#transitions + 1] = opened
    transitions[#transitions + 1] = group_note(domain, d, policy, sample, call.start, opened)
  end
  adapt(d, call, call.start, active + #calls - k + 1, now)
  if call.final and (sample.calls == 1 or sample.throttled == 1) then
    finals.calls, finals.failures = finals.calls + 1, finals.failures + (call.outcome == 'success' and 0 or 1)
  end
end
if sums then health_refresh(d, sums, now) end
if ewma ~= d.ewma_ms or ewma_at ~= d.ewma_at_ms then
  record_set(d, 'ewma_ms', decimal(ewma, 1))
  record_set(d, 'ewma_at_ms', ewma_at)
end
local arrival_at_ms = unused > 0 and d.rpm and limit_correct(d.arrival_at_ms, d.rpm, unused, 0, now)
if arrival_at_ms then record_set(d, 'arrival_at_ms', decimal(arrival_at_ms, 3)) end
local balance = unused > 0 and policy and retry_budget(domain, policy, 0) - unused * policy.retry_ratio
if balance then retry_take(domain, math.max(0, balance)) end
record_set(d, 'active', active)
for _, call in ipairs(calls) do last_error_note(deployment_key, call.outcome, call.why, now) end
window_add_totals(own_window_key, now, totals)
if finals.calls > 0 then window_add(window_key, now, finals) end
record_write(d)
record_write(domain)
waiting_tell(domain, d.id)
events_add(events_key, domain, transitions)
kept_put(domain)
return { #calls, d.state, d.generation, domain.sequence, domain.epoch, now }
