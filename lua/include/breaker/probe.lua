--- @include "store/record"
-- The probes of one half-open generation: `probes_issued` counts the granted and not returned ones, `probes_succeeded`
-- the successful ones. Their deadline runs only while a probe is in flight, so that a quiet hour is not a failure.
-- A probe that hangs must not keep a deployment half-open for as long as a call may take: it has 75 s, or twice the p99
-- from before the trip. A stream whose provider has sent its first byte does not hang, and has its whole lease.
local PROBE_MS = 75000  -- a minute, as long as most models think, and a quarter of it for the way

local function probe_issue(d, now)
  record_set(d, 'probes_issued', (d.probes_issued or 0) + 1)
  if not d.probe_deadline_ms then
    record_set(d, 'probe_deadline_ms', now + math.min(d.lease_ms, math.max(PROBE_MS, 2 * (d.p99_ms or 0))))
  end
end

-- `start`: of its lease, which has to be of this generation.
local function probe_answer(deployment_key, start, now)
  local fields = redis.call('HMGET', deployment_key, 'changed_at_ms', 'lease_ms', 'probe_deadline_ms')
  if fields[3] and start >= tonumber(fields[1] or 0) then
    redis.call('HSET', deployment_key, 'probe_deadline_ms', string.format('%d', now + tonumber(fields[2])))
  end
end

local function probe_deadline_end(d)
  if (d.probes_issued or 0) <= (d.probes_succeeded or 0) then record_set(d, 'probe_deadline_ms', nil) end
end

local function probe_succeed(d)
  record_set(d, 'probes_succeeded', (d.probes_succeeded or 0) + 1)
  probe_deadline_end(d)
end

local function probe_give_back(d)
  record_set(d, 'probes_issued', math.max(0, (d.probes_issued or 0) - 1))
  probe_deadline_end(d)
end
