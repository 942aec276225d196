--- @include "breaker/health"
-- The three transitions. Each gives the deployment a new generation, so that results of calls granted before it
-- can no longer move the breaker, and returns the transition for the event stream.
local function breaker_move(d, now, state, reason)
  local transition = { subject = d.id, from = d.state, to = state, reason = reason, generation = d.generation + 1 }
  record_set(d, 'state', state)
  record_set(d, 'generation', d.generation + 1)
  record_set(d, 'changed_at_ms', now)
  record_set(d, 'health_score', decimal(health_score(d, state), 1))
  for _, field in ipairs({ 'probes_issued', 'probes_succeeded', 'probe_deadline_ms' }) do record_set(d, field, nil) end
  return transition
end

-- Cooldown doubles with every trip in a row, jittered by 10 % so that deployments do not probe in step. `why`: the
-- error of the call that opened it, if there was one.
local function breaker_open(d, policy, now, reason, random, why)
  local trips = d.trips or 0
  if d.state == 'closed' then trips = trips - math.floor((now - (d.changed_at_ms or now)) / policy.trip_memory_ms) end
  trips = math.max(0, trips) + 1
  local base = d.cooldown_ms
  local cooldown = math.min(base * 2 ^ (trips - 1), math.max(base, policy.max_cooldown_ms))
  local transition = breaker_move(d, now, 'open', reason)
  transition.error = why ~= '' and why or nil
  record_set(d, 'trips', trips)
  record_set(d, 'open_reason', reason)
  record_set(d, 'open_until_ms', math.floor(now + cooldown * (0.9 + 0.2 * random())))
  return transition
end

local function breaker_half_open(d, now, reason)
  return breaker_move(d, now, 'half_open', reason)
end

-- The caller deletes the window: calls from before the outage show nothing about now.
local function breaker_close(d, now, reason)
  for _, field in ipairs({ 'requests', 'failures', 'slow', 'p50_ms', 'p95_ms', 'p99_ms', 'avg_ms', 'ewma_ms',
    'ewma_at_ms', 'open_until_ms', 'open_reason', 'consecutive_failures', 'consecutive_slow' }) do
    record_set(d, field, nil)
  end
  return breaker_move(d, now, 'closed', reason)
end
