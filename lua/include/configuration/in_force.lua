--- @include "store/record"
-- The configuration in force, in the reload HASH: version, digest of its file, and fingerprint of what that file means
-- for the shared state, kept with its version because a release without fingerprints writes without it.
-- first_until_ms: until then the first configuration of an empty store yields to one that was in force before a flush.
-- orphaned_ms: since then no living replica has had the file in force; 1 when the last one has left by itself.
-- Per replica: runs:<id> 'version digest', means:<id> 'registered_ms fingerprint', answer:<id>.
local FIRST_MS, ORPHANED_MS = 30000, 3000

local function in_force_fingerprint(reload)
  local version, fingerprint = string.match(reload.fingerprint or '', '^(%d+) (.+)$')
  return tonumber(version) == reload.version and fingerprint or nil
end

local function in_force_put(reload, version, digest, fingerprint, first_until_ms)
  record_set(reload, 'version', version)
  record_set(reload, 'digest', digest)
  record_set(reload, 'fingerprint', string.format('%d %s', version, fingerprint))
  record_set(reload, 'first_until_ms', first_until_ms)
  record_set(reload, 'orphaned_ms', nil)
end

-- `known`: the agreement as the caller knows it, version 0 when it knows none. The first file of an empty store comes
-- into force, and so does that of a replica that starts on the state of an earlier release. A store that has lost its
-- agreement gets the known one back; the version stays at least `written`, the newest one in policies.
local function in_force_restore(reload, now, own, known, next_version, written)
  local current, version = in_force_fingerprint(reload), reload.version or 0
  local is_lost = known.version > version or (not current and known.version == version)
  local is_older = known.fingerprint ~= current and (not known.is_first or known.version < version)
  if known.version > 0 and is_lost then
    local restored = known.version >= written and known.version or next_version
    in_force_put(reload, restored, known.digest, known.fingerprint, known.is_first and now + FIRST_MS or nil)
  elseif not current then
    if known.version > 0 and own.digest ~= reload.digest then return end
    -- An earlier release has committed this file although another one was known: it is not the first one.
    in_force_put(reload, next_version, own.digest, own.fingerprint, known.version == 0 and now + FIRST_MS or nil)
  elseif known.version > 0 and is_older and now < (reload.first_until_ms or 0) then
    in_force_put(reload, next_version, known.digest, known.fingerprint)
  elseif written > version then
    in_force_put(reload, next_version, reload.digest, current, reload.first_until_ms)
  end
end
