-- The error of a deployment's last failed call: STRING `last_error:<id>`, '<ms> <words>'. It is not in the hash, which
-- stays compact only while every value is short, and it expires, so that nothing is left of a deployment that is no
-- longer configured. The key is built here, because a success, by far the most frequent ending, need not send it.
local LAST_ERROR_KEPT_MS = 86400000  -- older than a day it explains nothing
local LAST_ERROR_MOST = 200

local function last_error_key(deployment_key)
  return (string.gsub(deployment_key, ':deployment:', ':last_error:', 1))
end

-- An outcome that does not concern the deployment changes nothing.
local function last_error_note(deployment_key, outcome, reason, now)
  if reason == '' or outcome == 'success' or outcome == 'client_error' or outcome == 'cancelled' then return end
  local text = string.format('%d ', now) .. string.sub(reason, 1, LAST_ERROR_MOST)
  redis.call('SET', last_error_key(deployment_key), text, 'PX', LAST_ERROR_KEPT_MS)
end

-- Returns the ms and the words, or nil.
local function last_error_read(deployment_key)
  return string.match(redis.call('GET', last_error_key(deployment_key)) or '', '^(%d+) (.*)$')
end
