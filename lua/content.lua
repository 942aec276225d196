--- @library "decisions"
--- @include "store/domain"
--- @include "store/policy"
--- @include "store/random"
--- @include "lease/lease"
--- @include "breaker/judge_move"
--- @include "breaker/group_note"
--- @include "store/event"
-- Judges a streamed probe by its first content, so that a long answer does not keep a recovered deployment half-open.
-- The lease is marked, so that settle does not count it again unless the stream fails in the same generation.
--
-- KEYS  1 global HASH, 2 policy STRING (JSON), 3 events STREAM,
--       4 deployment HASH, 5 its leases ZSET, 6 its window STRING
-- ARGV  1 epoch to set if none, 2 token, 3 generation, 4 latency_ms (to the first content), 5 seed (31-bit)
-- reply judged (0 | 1), state, generation, sequence, epoch, now_ms
local global_key, policy_key, events_key, deployment_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local leases_key, window_key = KEYS[5], KEYS[6]
local epoch, token, generation, random = ARGV[1], ARGV[2], tonumber(ARGV[3]), random_from(tonumber(ARGV[5]))
local call = { outcome = 'success', latency_ms = tonumber(ARGV[4]), stream = true, output_tokens = 0 }

local domain = domain_read(global_key, not outlives and { 'epoch', 'sequence', 'clock_ms', 'clock_offset_ms',
  'failing_until_ms', 'suspect_until_ms' })
local d, now = deployment_read(deployment_key, domain), domain.now
local start = tonumber(redis.call('ZSCORE', leases_key, token) or nil)
local is_due = start and d.config_version and d.generation == generation and lease_is_probe(start)
  and not lease_is_judged(start)
domain_advance(domain, epoch)
if not is_due then
  record_write(domain)
  return { 0, d.state or '', d.generation or 0, domain.sequence, domain.epoch, now }
end

local policy, sample = policy_read(policy_key, domain), judge_sample(call, d)
local transition = judge_move(d, policy, sample, nil, true, now, random)
local suspicion = group_note(domain, d, policy, sample, start, transition)
redis.call('ZADD', leases_key, 'XX', start + LEASE_JUDGED, token)
if transition and transition.to == 'closed' then redis.call('DEL', window_key) end
record_write(d)
record_write(domain)
events_add(events_key, domain, { transition or suspicion, transition and suspicion })
kept_put(domain)
return { 1, d.state, d.generation, domain.sequence, domain.epoch, now }
