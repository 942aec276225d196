--- @include "store/record"
-- What fails together: the deployments of one provider, a group. A HASH `group:<name>` holds what their calls show:
-- failures in a row of the whole group, at_ms of the last, and by deployment the time of its last failure in the row
-- (`failed:<id>`) and of its opening for failures (`opened:<id>`); while the others are suspects since_ms, until_ms.
-- Those count that opened within GROUP_MS, and in a row that would open a breaker all that failed. No breaker moves.
local GROUP_MS = 30000

local function group_key(domain, d) return string.sub(domain.key, 1, -7) .. 'group:' .. d.group end

-- Returns how many members fail, and whether they are enough to suspect the others.
local function group_failing(g, d, policy, now)
  local is_row, seen, failing = (g.failures or 0) >= policy.failure_threshold, {}, 0
  for field, at_ms in pairs(g) do
    local how, id = string.match(field, '^(%l+ed):(.+)$')
    if (how == 'opened' or how == 'failed' and is_row) and now - at_ms <= GROUP_MS and not seen[id] then
      seen[id], failing = true, failing + 1
    end
  end
  return failing, failing >= math.max(2, math.ceil(policy.group_share * d.group_size))
end

local function group_failed(domain, d, policy, now, has_opened)
  local g = record_read(group_key(domain, d))
  if now - (g.at_ms or 0) > GROUP_MS and (g.until_ms or 0) <= now then
    redis.call('DEL', g.key)
    g = record_read(g.key)
  end
  record_set(g, 'at_ms', now)
  record_set(g, 'failures', (g.failures or 0) + 1)
  record_set(g, 'failed:' .. d.id, now)
  if has_opened then record_set(g, 'opened:' .. d.id, now) end
  local failing, are_enough = group_failing(g, d, policy, now)
  local until_ms, is_new = now + GROUP_MS, are_enough and not g.since_ms
  if are_enough or g.since_ms then
    until_ms = math.max(g.until_ms or 0, until_ms + d.cooldown_ms)
    record_set(g, 'since_ms', g.since_ms or now)
    record_set(g, 'until_ms', until_ms)
    record_set(domain, 'suspect_until_ms', math.max(domain.suspect_until_ms or 0, until_ms))
  end
  record_set(domain, 'failing_until_ms', math.max(domain.failing_until_ms or 0, until_ms))
  record_write(g)
  redis.call('PEXPIRE', g.key, until_ms - now)
  return is_new and { subject = 'group:' .. d.group, from = 'trusted', to = 'suspect', generation = 0,
    reason = failing .. ' of ' .. d.group_size .. ' fail' } or nil
end
