--- @include "limit"
--- @include "score"
-- What each routing strategy picks from the eligible candidates of one tier. `least` strategies return a cost,
-- the smallest wins; equals are decided at random. `active` is read and raised in the same script: no herd.
local EWMA_TAU_MS = 10000

local function busy(c) return (c.active + 1) / c.weight end

-- Decayed on read, so that a deployment shunned for one slow call is tried again. Unknown latency costs nothing
-- while idle (it must be explored) and its threshold while busy (it must not be flooded).
local function decayed_latency(c, now)
  local d = c.deployment
  if not d.ewma_ms then return c.active > 0 and c.slow_after_ms or 0 end
  return d.ewma_ms * math.exp(-math.max(0, now - d.ewma_at_ms) / EWMA_TAU_MS)
end

local LEAST = {
  ['latency-based'] = function(c, now) return decayed_latency(c, now) * busy(c) end,
  ['least-busy'] = function(c) return busy(c) end,
  ['priority'] = function(c) return -(c.deployment.priority or 0), busy(c) end,
  ['usage-based'] = function(c, now) return -limit_headroom(c.deployment.arrival_at_ms, c.deployment.rpm, now), busy(c) end,
  ['cost-based'] = function(c) return c.deployment.price or 0, busy(c) end,
}

local WEIGHT = {
  ['adaptive'] = function(c) return c.score end,
  ['random'] = function(c) return c.ramp end,
}

-- Smooth weighted round robin (nginx): everyone gains its weight, the richest is picked and pays the total.
local ROUND = {
  ['weighted'] = function(c) return c.weight end,
  ['round-robin'] = function(c) return c.ramp end,
}
