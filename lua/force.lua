--- @flag "allow-oom"
--- @include "store/domain"
--- @include "breaker/breaker"
--- @include "breaker/group_note"
--- @include "breaker/unsupported"
--- @include "breaker/last_error"
--- @include "store/event"
-- An operator moves a breaker: open (until closed, or for ttl_ms), close, disable or drain (no new requests, active
-- ones finish), reset (closed, everything learned is forgotten).
--
-- KEYS  1 global HASH, 2 events STREAM, 3 deployment HASH, 4 its window STRING
-- ARGV  1 epoch to set if none, 2 action, 3 actor, 4 reason, 5 ttl_ms (0 for ever; open only), 6 token: a call that is
--       sent again moves nothing
-- reply 'ok', state, generation, sequence, epoch, now_ms  |  'unknown' (no such deployment or action)
local global_key, events_key, deployment_key, window_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local epoch, action, ttl_ms = ARGV[1], ARGV[2], tonumber(ARGV[5])
local STATE = { open = 'forced_open', close = 'closed', disable = 'disabled', drain = 'disabled', reset = 'closed' }

local domain, d = domain_read(global_key), deployment_read(deployment_key)
if not d.config_version or not STATE[action] then return { 'unknown' } end

domain_advance(domain, epoch)
if d.forced_by == ARGV[6] then
  record_write(domain)
  return { 'ok', d.state, d.generation, domain.sequence, domain.epoch, domain.now }
end
record_set(d, 'forced_by', ARGV[6])
local transition
if STATE[action] == 'closed' then
  transition = breaker_close(d, domain.now, action)
  -- An operator who closes declares the trouble over: full traffic now, no slow start, no trips to remember.
  for _, field in ipairs({ 'changed_at_ms', 'trips' }) do record_set(d, field, nil) end
  if action == 'reset' then
    for _, field in ipairs({ 'cool_until_ms', 'arrival_at_ms', 'tokens_at_ms', 'current_weight', 'adapted',
      'adapted_at_ms', 'cut_at_ms', 'baseline_plain', 'baseline_stream' }) do
      record_set(d, field, nil)
    end
    unsupported_forget(d)
    redis.call('DEL', last_error_key(deployment_key))
  end
  redis.call('DEL', window_key)
  group_forget(domain, d)
else
  transition = breaker_move(d, domain.now, STATE[action], action)
  record_set(d, 'open_until_ms', ttl_ms > 0 and domain.now + ttl_ms or nil)
  record_set(d, 'open_reason', string.sub(action .. ' by ' .. ARGV[3], 1, 64))
end
record_write(d)
record_write(domain)
event_add(events_key, domain, d.id, transition.from, transition.to, action .. ' by ' .. ARGV[3] .. ': ' .. ARGV[4],
  transition.generation)
return { 'ok', d.state, d.generation, domain.sequence, domain.epoch, domain.now }
