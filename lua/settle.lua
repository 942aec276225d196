--- @flag "allow-oom"
--- @library "decisions"
--- @include "store/domain"
--- @include "store/policy"
--- @include "store/random"
--- @include "breaker/judge_move"
--- @include "breaker/group_note"
--- @include "lease/lease"
--- @include "tenant/tenant"
--- @include "budget/reservation"
--- @include "limit/waiting"
--- @include "breaker/cool"
--- @include "breaker/unsupported"
--- @include "breaker/last_error"
--- @include "limit/gradient"
--- @include "affinity/learn"
--- @include "store/event"
-- Ends one lease and learns from its outcome. A second settle has no effect: removing the lease is the gate.
-- Only results of the generation in which the lease was granted move the breaker.
--
-- KEYS  1 global HASH, 2 policy STRING (JSON), 3 leases ZSET, 4 window STRING, 5 events STREAM,
--       6 deployment HASH, 7 its leases ZSET, 8 its window STRING
-- ARGV  1 epoch to set if none, 2 token, 3 outcome (success | failure | timeout | throttled | overloaded |
--       unsupported | client_error | cancelled), 4 generation, 5 probe (0 | 1), 6 latency_ms (first byte of a stream,
--       else total), 7 stream (0 | 1), 8 output_tokens, 9 retry_after_ms (0 unknown), 10 final outcome of its
--       request (0 | 1), 11 seed (31-bit), 12 tokens as estimated at acquire, 13 as they were (-1 unknown), 14 the
--       tenant's limit of them per minute (0 none), 15 'cost estimate scopes' where money is reserved (cost -1
--       unknown), 16 kind of call ('' unknown), 17 reason of a failure, in words, or '', 18 of its pins, as in
--       `affinity_learn`
-- reply known (0 | 1), state, generation, sequence, epoch, now_ms
local global_key, policy_key, leases_key, window_key, events_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local deployment_key, own_leases_key, own_window_key = KEYS[6], KEYS[7], KEYS[8]
local epoch, token, generation, probe = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5] == '1'
local call = { outcome = ARGV[3], latency_ms = tonumber(ARGV[6]), stream = ARGV[7] == '1',
  output_tokens = tonumber(ARGV[8]), retry_after_ms = tonumber(ARGV[9]) }
local final, random, kind, why = ARGV[10] == '1', random_from(tonumber(ARGV[11])), ARGV[16], ARGV[17]
local estimated, used, tpm = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
local SUMMARY_DUE_MS, EWMA_TAU_MS = 250, 10000

local domain = domain_read(global_key,
  not outlives and { 'epoch', 'sequence', 'clock_ms', 'clock_offset_ms', 'waiting_until_ms',
    'failing_until_ms', 'suspect_until_ms', 'affinity_turn' })
local d, now = deployment_read(deployment_key, domain), domain.now
local start = tonumber(redis.call('ZSCORE', own_leases_key, token) or nil)
local known = lease_remove(leases_key, own_leases_key, token)
if ARGV[15] ~= '' then reservation_settle(global_key, token, known, ARGV[15]) end
domain_advance(domain, epoch)
if not known or not d.config_version then
  record_write(domain)
  return { 0, d.state or '', d.generation or 0, domain.sequence, domain.epoch, now }
end
local sample = judge_sample(call, d)
-- Only a plain success, by far the most frequent ending, needs no policy.
local is_plain = d.state == 'closed' and call.outcome == 'success' and sample.slow == 0
  and not group_is_failing(domain, d)
local policy = not is_plain and policy_read(policy_key, domain)
-- A close starts a new window: permits from before it show nothing about now.
local is_late, sums = d.state == 'closed' and generation ~= d.generation, nil
if not is_late and (now - (d.refreshed_at_ms or 0) >= SUMMARY_DUE_MS or sample.failures == 1 or sample.slow == 1) then
  sums = window_read(redis.call('GET', own_window_key) or '', now)
  window_include(sums, sample)
  health_refresh(d, sums, now)
end
if sample.latency_ms and not is_late then
  local ewma, x = d.ewma_ms or 0, sample.latency_ms
  -- Peak EWMA (Finagle): up at once, down with time.
  if x < ewma then x = ewma + (x - ewma) * (1 - math.exp(-(now - d.ewma_at_ms) / EWMA_TAU_MS)) end
  record_set(d, 'ewma_ms', decimal(x, 1))
  record_set(d, 'ewma_at_ms', now)
end
cool_note(d, call, policy, now)
if ARGV[18] ~= '' then affinity_learn(domain, d, ARGV[18]) end
unsupported_learn(d, call.outcome, kind, now)
if used < 0 then used = sample.is_unused and 0 or nil end
if d.tpm then record_set(d, 'tokens_at_ms', decimal(limit_correct(d.tokens_at_ms, d.tpm, estimated, used, now), 3)) end
if tpm > 0 then tenant_correct(global_key, token, tpm, estimated, used, now) end
-- A streamed probe was judged at its first content; a break afterwards still counts.
if start and lease_is_judged(start) and sample.failures == 0 then probe = false end
local is_own = generation == d.generation
local transition = is_own and judge_move(d, policy, sample, sums, probe, now, random, why) or nil
local suspicion = is_own and group_note(domain, d, policy, sample, start, transition) or nil
record_set(d, 'active', deployment_active(own_leases_key, d, now))
adapt(d, call, start, d.active + 1, now)

if transition and transition.to == 'closed' then
  redis.call('DEL', own_window_key)
elseif not is_late then
  window_add(own_window_key, now, sample)
end
if final and (sample.calls == 1 or sample.throttled == 1) then
  window_add(window_key, now, { calls = 1, failures = call.outcome == 'success' and 0 or 1 })
end
last_error_note(deployment_key, call.outcome, why, now)
record_write(d)
record_write(domain)
waiting_tell(domain, d.id)
events_add(events_key, domain, { transition or suspicion, transition and suspicion })
kept_put(domain)
return { 1, d.state, d.generation, domain.sequence, domain.epoch, now }
