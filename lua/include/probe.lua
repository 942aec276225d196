--- @include "record"
-- Probes of one half-open generation: `probes_issued` counts those granted and not given back, `probes_succeeded` those
-- of them that came back well. Their deadline runs only while one is out, so that a quiet hour is not a failure.
local function probe_issue(d, now)
  record_set(d, 'probes_issued', (d.probes_issued or 0) + 1)
  if not d.probe_deadline_ms then record_set(d, 'probe_deadline_ms', now + d.lease_ms) end
end

local function probe_deadline_end(d)
  if (d.probes_issued or 0) <= (d.probes_succeeded or 0) then record_set(d, 'probe_deadline_ms', nil) end
end

local function probe_succeed(d)
  record_set(d, 'probes_succeeded', (d.probes_succeeded or 0) + 1)
  probe_deadline_end(d)
end

local function probe_give_back(d)
  record_set(d, 'probes_issued', math.max(0, (d.probes_issued or 0) - 1))
  probe_deadline_end(d)
end
