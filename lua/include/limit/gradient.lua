--- @include "limit/adaptive"
-- The other way to find the limit, for self-hosted servers, whose latency shows their queue: Gradient2 of Netflix's
-- concurrency-limits. Once a second of at least ten calls: gradient = clamp(1.5 * long / short, 0.5, 1), limit = 0.8 *
-- limit + 0.2 * (limit * gradient + 4), while at least half of it is used. `long` is an average of hundreds of calls.
local GRADIENT_CALLS, GRADIENT_MEMORY, GRADIENT_ROOM = 10, 600, 4

local function adapt_gradient(d, latency_ms, active, now)
  local long = (d.long_ms or latency_ms) + (latency_ms - (d.long_ms or latency_ms)) * 2 / (GRADIENT_MEMORY + 1)
  local sum, calls, since = (d.short_sum_ms or 0) + latency_ms, (d.short_calls or 0) + 1, d.short_since_ms or now
  if now - since >= ADAPT_EVERY_MS and calls >= GRADIENT_CALLS then
    local short, limit = math.max(1, sum / calls), d.adapted or d.limit
    if 2 * active >= limit then
      local gradient = clamp(1.5 * long / short, 0.5, 1)
      adapt_set(d, 0.8 * limit + 0.2 * (limit * gradient + GRADIENT_ROOM), now)
    end
    if long / short > 2 then long = 0.95 * long end
    sum, calls, since = 0, 0, now
  end
  record_set(d, 'long_ms', decimal(long, 1))
  record_set(d, 'short_sum_ms', sum)
  record_set(d, 'short_calls', calls)
  record_set(d, 'short_since_ms', since)
end

local function adapt(d, call, start, active, now)
  if d.concurrency == 'adaptive' then
    adapt_aimd(d, call.outcome, start, active, now)
  elseif d.concurrency == 'gradient' then
    if ADAPT_DROPS[call.outcome] then adapt_aimd(d, call.outcome, start, active, now) end
    if call.outcome == 'success' then adapt_gradient(d, call.latency_ms, active, now) end
  end
end
