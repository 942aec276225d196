--- @include "configuration/in_force"
-- A rolling upgrade: when no living replica has the file in force, the file of the last one that registered takes its
-- place. It does so at once when the last one has left; otherwise after ORPHANED_MS, in which replicas report again
-- that were cut off from the store, or that a flush has hidden.
-- Returns the replica whose file is in force from now on, or nil. Where that file means the same for the shared state,
-- only the digest changes.
local function inherit(reload, living, now, is_leaving, next_version)
  local current, newest, newest_same = in_force_fingerprint(reload), nil, nil
  for _, name in ipairs(living) do
    local digest = string.match(reload['runs:' .. name] or '', '^%d+ (.+)$')
    local since, fingerprint = string.match(reload['means:' .. name] or '', '^(%d+) (.+)$')
    if digest == reload.digest and (not fingerprint or fingerprint == current) then
      record_set(reload, 'orphaned_ms', nil)
      return nil
    end
    local own = { name = name, since = tonumber(since), digest = digest, fingerprint = fingerprint }
    if since and (not newest or own.since > newest.since) then newest = own end
    local is_same = since and fingerprint == current
    if is_same and (not newest_same or own.since > newest_same.since) then newest_same = own end
  end
  if not reload.orphaned_ms or is_leaving then record_set(reload, 'orphaned_ms', is_leaving and 1 or now) end
  if not newest or now < reload.orphaned_ms + ORPHANED_MS then return nil end
  if newest_same then
    in_force_put(reload, reload.version, newest_same.digest, current)
    return nil
  end
  in_force_put(reload, next_version, newest.digest, newest.fingerprint)
  return newest.name
end
