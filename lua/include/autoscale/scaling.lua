--- @include "autoscale/desired"
--- @include "autoscale/week"
-- Turns the result of `demand` into the average, the replicas that it requires, and the number that there should be.
-- Reasons: load (the required number), held (it would fit on fewer, but barely or not for long enough), foreseen (as
-- many as last week's load requires), min, max, learning (the store has just begun to know the cluster).
local function scaling_average(scale, load, now)
  local passed = now - (scale.evaluated_at_ms or 0)
  return load + ((scale.average or load) - load) * math.exp(-passed / AVERAGE_MS)
end

local function scaling_within(scale, replicas)
  return clamp(replicas, scale.min_replicas, scale.max_replicas)
end

local function scaling_judge(scale, now, is_learning, week_key, wall_ms)
  local each, before = scale.target_concurrency * scale.utilization, scale.desired
  local load = scale.active + math.min(scale.waiting, scale.limit)
  record_set(scale, 'average', tonumber(decimal(scaling_average(scale, load, now), 3)))
  record_set(scale, 'peak', desired_peak(scale, now))
  week_foresee(scale, week_key, wall_ms, each)
  local required = math.ceil(scale.average / each - SLACK)
  local needed = math.ceil(scale.peak / (each * DOWN_ROOM) - SLACK)
  local ahead = scaling_within(scale, math.ceil((scale.foreseen or 0) / each - SLACK))
  local wanted, desired = scaling_within(scale, required), before or 0
  local rises = math.max(wanted, ahead)
  if is_learning or not before then
    desired = math.max(desired, scale.replicas, rises)
    record_set(scale, 'held_until_ms', now + scale.scale_down_delay_ms)
  elseif rises > before then
    desired = rises
  elseif needed < before and now >= (scale.held_until_ms or 0) then
    desired = math.max(needed, ahead)
  end
  desired = scaling_within(scale, desired)
  local spare = desired == ahead and 'foreseen' or 'held'
  local reason = required > desired and 'max' or wanted < desired and spare or required < desired and 'min' or 'load'
  record_set(scale, 'reason', is_learning and 'learning' or reason)
  record_set(scale, 'wanted', wanted)
  record_set(scale, 'evaluated_at_ms', now)
  if before and before ~= desired then
    record_set(scale, 'changed_at_ms', now)
    record_set(scale, 'changed_from', before)
  end
  record_set(scale, 'desired', desired)
end
