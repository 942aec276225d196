-- Rate limit by GCRA (Generic Cell Rate Algorithm): one field, the theoretical arrival time of the next request or
-- token. A burst of a whole minute is allowed, so that a limit of 100 admits exactly 100 at once. One request's tokens
-- count for a minute's at most: more could never be admitted.
local MINUTE_MS = 60000

-- The new arrival time. Rounded down to a microsecond: rounded up, the errors of a minute would add up to one request
-- less.
local function limit_take(arrival_at_ms, per_minute, amount, now)
  local step = math.min(amount, per_minute) * MINUTE_MS / per_minute
  return math.floor((math.max(now, arrival_at_ms or 0) + step) * 1000) / 1000
end

-- Returns the new arrival time if the request is allowed now, else nil and the ms to wait.
local function limit_check(arrival_at_ms, per_minute, amount, now)
  local arrival = limit_take(arrival_at_ms, per_minute, amount, now)
  if arrival - MINUTE_MS <= now then return arrival end
  return nil, math.ceil(arrival - MINUTE_MS - now)
end

-- Returns the arrival time corrected from the estimated to the `used` tokens; unchanged for nil, when they are unknown.
local function limit_correct(arrival_at_ms, per_minute, estimated, used, now)
  local step = used and (used - math.min(estimated, per_minute)) * MINUTE_MS / per_minute or 0
  return math.max(now, arrival_at_ms or 0) + step
end

-- Returns the share of the limit that is left, 1 when no limit is set.
local function limit_headroom(arrival_at_ms, per_minute, now)
  if not per_minute then return 1 end
  return 1 - math.max(0, (arrival_at_ms or 0) - now) / MINUTE_MS
end
