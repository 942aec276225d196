--- @include "limit/fair"
-- Requests wait in the queues of their replicas: a call that frees a place is published to all replicas on the channel
-- `freed` of the domain, unless no deployment was found full for a while.
local WAITING_MS = 2000

local function waiting_note(candidates, domain, ask)
  for _, c in ipairs(candidates) do
    if c.verdict == 'full' or c.verdict == 'behind' then
      record_set(domain, 'waiting_until_ms', domain.now + WAITING_MS)
      fair_note(c.deployment, ask, false, domain.now)
    end
  end
end

-- Without the right to publish, replicas poll a few times a second.
local function waiting_tell(domain, deployment_id)
  if (domain.waiting_until_ms or 0) <= domain.now then return end
  redis.pcall('PUBLISH', (string.gsub(domain.key, 'global$', 'freed')), deployment_id)
end
