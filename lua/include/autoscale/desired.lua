--- @include "store/record"
-- The concurrency rule of Knative's autoscaler: wanted = ceil(average concurrency / (target * utilization)).
-- The number rises at once, by an average with the memory of a 6 s window. It falls only to a number that would have
-- carried the highest average within `scale_down_delay` with a tenth to spare, so that smaller swings change nothing.
-- Waiting requests count up to what the deployments serve at once: more replicas would only lengthen a longer queue.
-- A cluster with a young memory (first start, a flush) keeps its replicas for as long as the delay.
local AVERAGE_MS, SLOTS, DOWN_ROOM, SLACK = 3000, 10, 0.9, 0.005
local DESIRED_FIELDS = { 'version', 'target_concurrency', 'utilization', 'min_replicas', 'max_replicas',
  'scale_down_delay_ms', 'ahead_ms', 'evaluated_at_ms', 'active', 'waiting', 'limit', 'replicas', 'average',
  'peak', 'foreseen', 'wanted', 'desired', 'reason', 'held_until_ms', 'changed_at_ms', 'changed_from' }

local function desired_settings(scale, given, version, now)
  if given.scale_down_delay_ms ~= scale.scale_down_delay_ms then -- what is remembered is counted in parts of it
    record_set(scale, 'peaks', nil)
    record_set(scale, 'held_until_ms', now + given.scale_down_delay_ms)
  end
  for name, value in pairs(given) do record_set(scale, name, value) end
  record_set(scale, 'version', version)
end

-- The highest average of each tenth of the delay, as `number of the tenth=average`.
local function desired_peak(scale, now)
  local slot, own, highest, kept = math.floor(now * SLOTS / scale.scale_down_delay_ms), scale.average, 0, {}
  for at, peak in string.gmatch(scale.peaks or '', '(%d+)=([%d.]+)') do
    if tonumber(at) == slot then
      own = math.max(own, tonumber(peak))
    elseif tonumber(at) >= slot - SLOTS then
      kept[#kept + 1], highest = at .. '=' .. peak, math.max(highest, tonumber(peak))
    end
  end
  kept[#kept + 1] = string.format('%d=%s', slot, decimal(own, 2))
  record_set(scale, 'peaks', table.concat(kept, ' '))
  return math.max(highest, own)
end
