--- @include "limit/limit"
--- @include "select/score"
-- The measure of each routing strategy. Branches instead of tables of functions: a script builds all of its
-- functions anew in every call, so each one costs every request.
local EWMA_TAU_MS, LATENCY_UNKNOWN_MS = 10000, 2000

-- Decayed on read, so that a deployment shunned for one slow call is tried again. Unknown latency costs nothing
-- while idle (it must be explored) and its threshold, at least 2 s where relative, while busy (it must not be flooded).
local function strategy_latency(c, now)
  local d = c.deployment
  if not d.ewma_ms then return c.active > 0 and (d.latency_threshold_ms or LATENCY_UNKNOWN_MS) or 0 end
  return d.ewma_ms * math.exp(-math.max(0, now - d.ewma_at_ms) / EWMA_TAU_MS)
end

-- Returns the deciding cost, then the cost that breaks ties; nil for strategies that draw or take turns.
-- `active` is read and raised in the same script, so there is no herd on stale numbers.
local function strategy_cost(strategy, c, now)
  local d, busy = c.deployment, (c.active + 1) / ((c.deployment.weight or 1) * c.ramp)
  if strategy == 'latency-based' then return strategy_latency(c, now) * busy, 0 end
  if strategy == 'least-busy' then return busy, 0 end
  if strategy == 'priority' then return -(d.priority or 0), busy end
  if strategy == 'usage-based' then
    return -math.min(limit_headroom(d.arrival_at_ms, d.rpm, now), limit_headroom(d.tokens_at_ms, d.tpm, now)), busy
  end
  if strategy == 'cost-based' then return d.price or 0, busy end
  return nil
end

-- The share of a candidate: of a random draw (adaptive, random) or of the turns (weighted, round-robin).
local function strategy_share(strategy, c)
  if strategy == 'adaptive' then return c.merit end
  if strategy == 'weighted' then return c.deployment.weight or 1 end
  return 1
end
