--- @include "store/domain"
--- @include "store/event"
-- Health checks of a deployment whose breaker is open. A replica claims a check, queries the provider, and reports the
-- answer. Guarantees: one claim per interval for the whole domain; a report ends a cooldown or changes nothing, so the
-- next request is a probe, and no check opens or closes a breaker.
--
-- The first check is due one interval after the breaker opened. None is due while the provider's own Retry-After runs,
-- nor in the cooldown after a probe that a check had let through and that failed: that check was wrong.
--
-- KEYS  1 global HASH, 2 events STREAM, 3 deployment HASH
-- ARGV  1 'claim', 2 interval_ms  |  1 'report', 2 generation of the claim, 3 HTTP status (0: no answer),
--       4 healthy (0 | 1)
-- reply claim: claimed (0 | 1), generation  |  report: cooldown ended (0 | 1), generation
local global_key, events_key, deployment_key, mode, number = KEYS[1], KEYS[2], KEYS[3], ARGV[1], tonumber(ARGV[2])

local domain = domain_read(global_key, { 'epoch', 'schema', 'sequence', 'clock_ms', 'clock_offset_ms' })
if domain_foreign(domain) then return domain_foreign(domain) end
local now = domain.now
local d = record_read(deployment_key, { 'config_version', 'state', 'generation', 'changed_at_ms', 'open_until_ms',
  'cool_until_ms', 'checked_at_ms', 'check_status', 'check_ended' })
local generation = d.generation or 0
if not d.config_version or d.state ~= 'open' or (d.open_until_ms or 0) <= now then return { 0, generation } end

if mode == 'claim' then
  local is_cooling, was_wrong = (d.cool_until_ms or 0) > now, d.check_ended == generation - 2
  local is_due = now - math.max(d.checked_at_ms or 0, d.changed_at_ms or 0) >= number
  if is_cooling or was_wrong or not is_due then return { 0, generation } end
  record_set(d, 'checked_at_ms', now)
  record_set(d, 'check_status', nil)
  domain_advance(domain, domain.epoch)
  record_write(d)
  record_write(domain)
  return { 1, generation }
end

if number ~= generation then return { 0, generation } end
local is_healthy = ARGV[4] == '1'
record_set(d, 'check_status', tonumber(ARGV[3]))
if is_healthy then
  record_set(d, 'open_until_ms', now)
  record_set(d, 'check_ended', generation)
end
domain_advance(domain, domain.epoch)
record_write(d)
record_write(domain)
if is_healthy then
  local id = string.match(deployment_key, ':deployment:(.+)$')
  event_add(events_key, domain, id, 'open', 'open', 'health_check', generation)
end
return { is_healthy and 1 or 0, generation }
