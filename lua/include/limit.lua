-- Rate limit by GCRA (Generic Cell Rate Algorithm): one field, the theoretical arrival time of the next request.
-- A burst of a whole minute is allowed, so that a limit of 100 admits exactly 100 at once.
local MINUTE_MS = 60000

-- Returns the new arrival time, or nil and the ms to wait. Rounded down to a microsecond: rounded up, the errors of a
-- minute would add up to one request less.
local function limit_check(arrival_at_ms, per_minute, amount, now)
  local arrival = math.floor((math.max(now, arrival_at_ms or 0) + amount * MINUTE_MS / per_minute) * 1000) / 1000
  if arrival - MINUTE_MS <= now then return arrival end
  return nil, math.ceil(arrival - MINUTE_MS - now)
end

-- Share of the limit that is left, 1 when no limit is set.
local function limit_headroom(arrival_at_ms, per_minute, now)
  if not per_minute then return 1 end
  return 1 - math.max(0, (arrival_at_ms or 0) - now) / MINUTE_MS
end
