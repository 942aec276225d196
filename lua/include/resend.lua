--- @include "deployment"
--- @include "lease"
-- What a call that is sent again was granted the first time: the position of the candidate, its deployment and the
-- lease's start, or nil. `keys` from `first` on: three per candidate.
local function resend_find(keys, first, token, now)
  for k = first, #keys, 3 do
    local start = tonumber(redis.call('ZSCORE', keys[k + 1], token) or nil)
    local d = start and deployment_read(keys[k])
    if d and d.config_version and math.floor(start) + d.lease_ms > now then return (k - first) / 3 + 1, d, start end
  end
  return nil
end
