--- @include "store/record"
-- The concurrency limit in force: found between 1 and `limit`, the same for all replicas. AIMD as in Netflix's
-- concurrency-limits: + 1 a second while at least half of it is used, x 0.9 when a call ends throttled, overloaded or
-- timed out, once per round trip: calls that began before the last cut met the limit before it. A cut starts from at
-- most twice the active calls, because coming down from a far too high ceiling would take minutes.
-- `adapted` is absent at the ceiling. `cut_at_ms` is separate, because a timed-out call began before many a + 1.
local ADAPT_EVERY_MS, ADAPT_BACKOFF, ADAPT_FROM = 1000, 0.9, 20
local ADAPT_DROPS = { throttled = true, overloaded = true, timeout = true }

local function adapt_limit(d)
  return math.max(1, math.min(d.limit, math.floor(d.adapted or d.limit)))
end

local function adapt_set(d, limit, now)
  limit = math.max(1, limit)
  record_set(d, 'adapted', limit < d.limit and decimal(limit, 2) or nil)
  record_set(d, 'adapted_at_ms', limit < d.limit and now or nil)
end

-- `start`: of the call; `active`: with it.
local function adapt_aimd(d, outcome, start, active, now)
  local limit = adapt_limit(d)
  if ADAPT_DROPS[outcome] then
    local from = math.min(limit, math.max(ADAPT_FROM, 2 * active))
    if start < (d.cut_at_ms or 0) then return end
    adapt_set(d, math.floor(ADAPT_BACKOFF * from), now)
    record_set(d, 'cut_at_ms', now)
  elseif outcome == 'success' and d.adapted and 2 * active >= limit
    and now - (d.adapted_at_ms or 0) >= ADAPT_EVERY_MS then
    adapt_set(d, limit + 1, now)
  end
end
