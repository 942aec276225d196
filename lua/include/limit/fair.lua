--- @include "store/record"
-- Tenants that wait for a full deployment, on any replica: `waiters` of its hash, JSON of priority, share (active
-- requests by weight, with the one that waits) and the time of the report, by tenant. A free place goes to the highest
-- priority, and within it to the tenant with the smallest share. Each replica orders its own tenants; this orders them
-- across replicas.
local FAIR_MS, FAIR_MOST, FAIR_WAIT_MS = 400, 16, 100  -- a waiting request tries again at least every 250 ms

local function fair_waiters(d, now)
  local waiters, count = d.waiters and cjson.decode(d.waiters) or {}, 0
  for name, w in pairs(waiters) do
    if w.at_ms < now - FAIR_MS then waiters[name] = nil else count = count + 1 end
  end
  return waiters, count
end

-- A dry run has no share, and waits for no other tenant.
local function fair_is_behind(d, ask, now)
  if not d.waiters or not ask.share then return false end
  for name, w in pairs((fair_waiters(d, now))) do
    local is_next = w.priority < ask.priority or (w.priority == ask.priority and w.share <= ask.share)
    if is_next and name ~= ask.tenant then return true end
  end
  return false
end

-- A candidate with room has none for a tenant that is not next.
local function fair_apply(candidates, ask, now)
  for _, c in ipairs(candidates) do
    if c.verdict == 'eligible' and not c.probe and fair_is_behind(c.deployment, ask, now) then
      c.verdict, c.wait_ms = 'behind', FAIR_WAIT_MS
    end
  end
end

-- Notes a request that waits in its replica's queue for this deployment, or has got its permit, and whether more of its
-- tenant's requests wait after it.
local function fair_note(d, ask, is_granted, now)
  if not d.waiters and not ask.waits then return end
  local waiters, count = fair_waiters(d, now)
  local next_one = is_granted and 2 or 1
  if is_granted and not ask.more then
    waiters[ask.tenant] = nil
  elseif ask.waits and (waiters[ask.tenant] or count < FAIR_MOST) then
    waiters[ask.tenant] = { priority = ask.priority, share = ask.share + next_one / ask.weight, at_ms = now }
  end
  record_set(d, 'waiters', next(waiters) and cjson.encode(waiters) or nil)
end
