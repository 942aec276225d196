--- @include "store/deployment"
--- @include "lease/lease"
--- @include "breaker/overdue_wait"
-- A deployment hangs when at least `slow_limit` calls have waited too long for their first byte and nothing has come
-- back since, and, without relief, no active stream has begun. With relief, half of the active calls suffice as well.
local SILENT_AFTER_MS, OVERDUE_SEEN, NEWEST_SEEN, OVERDUE_SAMPLES = 2500, 1000, 64, 20

-- Returns each replica's last sign of life among these leases, and the start of the latest call with its first byte.
local function overdue_signs(leases)
  local newest, alive, answered = redis.call('ZRANGE', leases, -NEWEST_SEEN, -1, 'WITHSCORES'), {}, 0
  for k = 1, #newest, 2 do
    local start = tonumber(newest[k + 1])
    alive[lease_owner(newest[k]) or ''] = math.floor(start)
    if lease_is_answered(start) then answered = start end
  end
  return alive, answered
end

-- A call's age ends when its replica would last have reported its first byte: with a heartbeat or, as plain calls end
-- at once, with another lease. Calls of a replica that missed two heartbeats do not count: it may be dead.
local function overdue_is_waiting(token, start, wait_ms, alive, replicas_key, beats, now)
  local owner = lease_owner(token) or ''
  if not beats[owner] then beats[owner] = tonumber(redis.call('ZSCORE', replicas_key, owner) or 0) end
  local reported_at = beats[owner]
  if not string.find(token, '.stream.', 1, true) then reported_at = math.max(reported_at, alive[owner] or 0) end
  return reported_at >= math.max(now - SILENT_AFTER_MS, start + wait_ms)
end

local function overdue_is_hung(d, policy, leases, active, replicas_key, beats, now)
  local has_relief, from, overdue, first = relief_is_there(d, now), now - d.lease_ms + 1, 0, now
  local wait_ms = overdue_wait_ms(d, has_relief)
  local to = '(' .. string.format('%d', now - wait_ms + 1)  -- with the marks
  local old = redis.call('ZRANGEBYSCORE', leases, from, to, 'WITHSCORES', 'LIMIT', 0, OVERDUE_SEEN)
  if #old < 2 * policy.slow_limit then return false end
  local alive, answered = overdue_signs(leases)
  for k = 1, #old, 2 do
    local token, start = old[k], tonumber(old[k + 1])
    local is_judged = (d.requests or 0) >= OVERDUE_SAMPLES or string.find(token, '.stream.', 1, true)
    if lease_is_answered(start) then
      answered = math.max(answered, start)
    elseif is_judged and overdue_is_waiting(token, start, wait_ms, alive, replicas_key, beats, now) then
      overdue, first = overdue + 1, math.min(first, start)
    end
  end
  -- Only the oldest are inspected one by one; of the rest, the same share counts as waiting.
  if #old == 2 * OVERDUE_SEEN then overdue = overdue / OVERDUE_SEEN * redis.call('ZCOUNT', leases, from, to) end
  local nothing_came = answered < first and d.ewma_at_ms and d.ewma_at_ms <= now - wait_ms
  return overdue >= policy.slow_limit
    and (nothing_came and (has_relief or answered == 0) or has_relief and overdue >= active / 2)
end
