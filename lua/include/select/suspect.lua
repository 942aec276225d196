--- @include "breaker/group"
--- @include "lease/lease"
--- @include "limit/room"
-- Suspects: deployments whose group fails, with closed breakers. Each is probed, one call at a time, until it succeeds;
-- after a failure it is left alone for its cooldown. A suspicion moves traffic, and refuses no request: where no other
-- candidate is eligible, suspects serve as ever. So it costs nothing that breakers would not have cost.
-- Returns how long it has to be left alone, 0 where it may be probed, nil for one above suspicion.
local function suspect_wait(c, domain)
  local d, now = c.deployment, domain.now
  local g = redis.call('HMGET', group_key(domain, d), 'since_ms', 'until_ms', 'failed:' .. d.id)
  local since_ms = tonumber(g[1] or nil)
  if not since_ms or tonumber(g[2]) <= now then return nil end
  local rest_ms = (tonumber(g[3] or nil) or -math.huge) + d.cooldown_ms - now
  if rest_ms > 0 then return rest_ms end
  if math.max(d.ewma_at_ms or 0, d.changed_at_ms or 0) >= since_ms then return nil end
  local from = math.max(since_ms, now - d.lease_ms + 1)
  local first = redis.call('ZRANGEBYSCORE', c.leases_key, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] and lease_is_answered(tonumber(first[2])) then return nil end
  return first[1] and UNKNOWN_WAIT_MS or 0  -- a probe may end at any time
end

-- Marks the candidates that are suspects: `suspect_ms`.
local function suspects_note(candidates, domain)
  if (domain.suspect_until_ms or 0) <= domain.now then return end
  for _, c in ipairs(candidates) do
    local d = c.deployment
    if d.group and d.state == 'closed' and c.verdict == 'eligible' then
      c.suspect_ms = suspect_wait(c, domain)
      candidates.are_suspect = candidates.are_suspect or c.suspect_ms ~= nil
    end
  end
end

-- Sets aside the suspects that cannot be probed now, if another candidate is eligible.
local function suspects_avoid(candidates)
  if not candidates.are_suspect then return end
  local held, others = {}, 0
  for _, c in ipairs(candidates) do
    if c.verdict == 'eligible' then
      if (c.suspect_ms or 0) > 0 then held[#held + 1] = c else others = others + 1 end
    end
  end
  if others == 0 then return end
  for _, c in ipairs(held) do c.verdict, c.wait_ms = 'suspect', c.suspect_ms end
end
