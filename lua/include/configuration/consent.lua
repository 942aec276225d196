--- @include "configuration/in_force"
-- A reload: a replica proposes a file, every living one answers, and one atomic step decides for all. In the reload
-- HASH: phase (prepare | committed | refused), proposed_version, proposed_digest, proposed_fingerprint, proposed_by,
-- until_ms, answer:<replica>.
local function consent_propose(reload, living, replica, file, version, until_ms)
  for _, name in ipairs(living) do record_set(reload, 'answer:' .. name, nil) end
  record_set(reload, 'proposed_version', version)
  record_set(reload, 'proposed_digest', file.digest)
  record_set(reload, 'proposed_fingerprint', string.format('%d %s', version, file.fingerprint))
  record_set(reload, 'proposed_by', replica)
  record_set(reload, 'until_ms', until_ms)
  record_set(reload, 'phase', 'prepare')
  record_set(reload, 'answer:' .. replica, 'ready')  -- it has read and checked the file before it proposes it
end

local function consent_end(reload, phase)
  record_set(reload, 'phase', phase)
  if phase ~= 'committed' then return end
  -- A release that knows no fingerprints may have proposed it: then its version is not that of the fingerprint.
  local version, fingerprint = string.match(reload.proposed_fingerprint or '', '^(%d+) (.+)$')
  local is_known = tonumber(version) == reload.proposed_version
  in_force_put(reload, reload.proposed_version, reload.proposed_digest, is_known and fingerprint or '')
end

-- Returns why it has ended, or nil while answers are missing.
local function consent_judge(reload, living, now)
  local missing
  for _, name in ipairs(living) do
    local answer = reload['answer:' .. name]
    if answer and answer ~= 'ready' then
      consent_end(reload, 'refused')
      return 'refused by ' .. name
    end
    if not answer then missing = name end
  end
  if not missing then
    consent_end(reload, 'committed')
    return 'reloaded by ' .. reload.proposed_by
  end
  if now <= reload.until_ms then return nil end
  consent_end(reload, 'refused')
  return 'no answer of ' .. missing
end
