--- @include "limit/limit"
local UNKNOWN_WAIT_MS = 1000

-- Checks besides the breaker: the provider's own cooldown, room up to `limit`, requests and tokens a
-- minute. Returns the verdict and its wait, or nil where there is room.
local function room_check(c, limit, now, tokens)
  local d, wait_ms = c.deployment, nil
  if (d.cool_until_ms or 0) > now then return 'cooling', d.cool_until_ms - now end
  if c.active >= limit then return 'full', UNKNOWN_WAIT_MS end
  if d.rpm then c.arrival_at_ms, wait_ms = limit_check(d.arrival_at_ms, d.rpm, 1, now) end
  if d.tpm and not wait_ms then c.tokens_at_ms, wait_ms = limit_check(d.tokens_at_ms, d.tpm, tokens, now) end
  return wait_ms and 'rate_limited', wait_ms
end
