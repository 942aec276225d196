--- @include "breaker/group"
-- Learns from a call's outcome, or from an opened breaker, what it shows of the deployment's group. Returns the
-- transition of the group for the event stream, or nil.

-- A success ends the row of failures, if its call began after the suspicion. The suspicion ends with it, unless enough
-- members are open: then each of the others needs a success of its own.
local function group_succeeded(domain, d, policy, now, start)
  local key = group_key(domain, d)
  local failures, since_ms = unpack(redis.call('HMGET', key, 'failures', 'since_ms'))
  if not failures and not since_ms or since_ms and start < tonumber(since_ms) then return nil end
  local g, ended = record_read(key), { 'failures', 'opened:' .. d.id }
  for field in pairs(g) do
    if string.find(field, 'failed:', 1, true) == 1 then ended[#ended + 1] = field end
  end
  for _, field in ipairs(ended) do record_set(g, field, nil) end
  local is_over = since_ms and not select(2, group_failing(g, d, policy, now))
  if is_over then
    record_set(g, 'since_ms', nil)
    record_set(g, 'until_ms', nil)
  end
  record_write(g)
  return is_over and { subject = 'group:' .. d.group, from = 'suspect', to = 'trusted', reason = 'served by ' .. d.id,
    generation = 0 } or nil
end

local function group_is_failing(domain, d)
  return d.group and (domain.failing_until_ms or 0) > domain.now
end

-- `start`: of the call; `opened`: the transition of its deployment, if it moved. `policy` is needed after a failure and
-- where the group `is_failing`.
local FOR_SLOWNESS = { consecutive_slow = true, slow_rate = true, probe_slow = true }
local function group_note(domain, d, policy, sample, start, opened)
  if not d.group or not policy or not policy.breaker_enabled then return nil end
  if sample.failures == 1 then
    local has_opened = opened and opened.to == 'open' and not FOR_SLOWNESS[opened.reason]
    return group_failed(domain, d, policy, domain.now, has_opened)
  end
  if sample.calls == 1 and group_is_failing(domain, d) then
    return group_succeeded(domain, d, policy, domain.now, start)
  end
  return nil
end

-- An operator who closes a breaker declares the trouble over.
local function group_forget(domain, d)
  if d.group then redis.call('DEL', group_key(domain, d)) end
end
