--- @include "window/baseline"
--- @include "breaker/relief"
-- The wait after which a call is overdue: twice the threshold of slowness and twice the p99. An unknown relative
-- threshold counts as its least value; streams and plain calls share the larger threshold, because they wait together.
-- Without relief the wait is at least 30 s and twice the usual latency, which is remembered longer than the p99: a
-- queue that makes progress and a model that thinks do not hang, and no caller gains when their breaker opens.
local OVERDUE_ALONE_MS = 30000

local function overdue_wait_ms(d, has_relief)
  local threshold = d.latency_threshold_ms
    or math.max(BASELINE_LEAST_MS, baseline_threshold(d, true) or 0, baseline_threshold(d, false) or 0)
  local wait_ms = 2 * math.max(threshold, d.p99_ms or 0)
  return has_relief and wait_ms or math.max(wait_ms, OVERDUE_ALONE_MS, 2 * (d.ewma_ms or 0))
end
