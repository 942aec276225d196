--- @include "deployment"
--- @include "lease"
-- Overdue in flight: at least `slow_limit` calls, and at least half of the active ones, have waited for their first
-- byte longer than twice the latency threshold and twice the p99. Opens a hung provider before a call timed out.
local SILENT_AFTER_MS, OVERDUE_SEEN, OVERDUE_SAMPLES = 2500, 1000, 20

-- A call is as old as it was at its replica's last beat, which would have told of its first byte. Calls of a replica
-- that missed two beats do not count: it may be dead, and then nobody waits. `beats` remembers who beat when.
local function overdue_is_waiting(token, start, wait_ms, replicas_key, beats, now)
  if lease_is_answered(start) then return false end
  local owner = lease_owner(token) or ''
  if not beats[owner] then beats[owner] = tonumber(redis.call('ZSCORE', replicas_key, owner) or 0) end
  return beats[owner] >= math.max(now - SILENT_AFTER_MS, start + wait_ms)
end

local function overdue_is_half(d, policy, leases, active, replicas_key, beats, now)
  local wait_ms = math.max(2 * d.latency_threshold_ms, 2 * (d.p99_ms or 0))
  local from, to, overdue = now - d.lease_ms + 1, now - wait_ms, 0
  local old = redis.call('ZRANGEBYSCORE', leases, from, to, 'WITHSCORES', 'LIMIT', 0, OVERDUE_SEEN)
  for k = 1, #old, 2 do
    local is_judged = (d.requests or 0) >= OVERDUE_SAMPLES or string.find(old[k], '.stream.', 1, true)
    if is_judged and overdue_is_waiting(old[k], tonumber(old[k + 1]), wait_ms, replicas_key, beats, now) then
      overdue = overdue + 1
    end
  end
  -- The oldest are looked at one by one; of the rest the same share is taken to wait.
  if #old == 2 * OVERDUE_SEEN then overdue = overdue / OVERDUE_SEEN * redis.call('ZCOUNT', leases, from, to) end
  return overdue >= policy.slow_limit and overdue >= active / 2
end
