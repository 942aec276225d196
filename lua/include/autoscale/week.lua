--- @include "store/record"
-- The load of the week before, by which replicas are there before a surge that recurs: the highest average of every
-- five minutes, in a HASH by the hour of the week. A week without the surge, such as one with a holiday, lowers what
-- is remembered by a fifth. When five minutes needed less than half of the replicas that were foreseen for them, the
-- memory is not followed until it agrees again.
local SLOT_MS, SLOTS_OF_HOUR, HOURS_OF_WEEK, BYTES, PARTS, KEPT = 300000, 12, 168, 4, 16, 0.8

-- Returns the numbers of a slot's hour, packed, the hour, and where the slot's number begins.
local function week_cells(week_key, slot)
  local hour = math.floor(slot / SLOTS_OF_HOUR) % HOURS_OF_WEEK
  local cells = redis.call('HGET', week_key, hour) or ''
  if #cells ~= SLOTS_OF_HOUR * BYTES then cells = string.rep('\0', SLOTS_OF_HOUR * BYTES) end
  return cells, hour, slot % SLOTS_OF_HOUR * BYTES + 1
end

local function week_get(week_key, slot)
  local cells, _, at = week_cells(week_key, slot)
  return struct.unpack('>I4', cells, at) / PARTS
end

-- Learns the slot that has ended, and returns whether it was foreseen wrongly.
local function week_close(scale, week_key, each)
  local before, peak = week_get(week_key, scale.slot), scale.slot_peak
  local kept = struct.pack('>I4', math.min(math.floor(math.max(peak, KEPT * before) * PARTS), 4294967295))
  local cells, hour, at = week_cells(week_key, scale.slot)
  redis.call('HSET', week_key, hour, string.sub(cells, 1, at - 1) .. kept .. string.sub(cells, at + BYTES))
  return 2 * math.ceil(peak / each) < math.ceil(before / each)
end

-- `wall_ms`: the store's clock. Sets `foreseen`: the highest load of last week from now to `ahead_ms` later.
local function week_foresee(scale, week_key, wall_ms, each)
  if scale.ahead_ms == 0 then
    for _, field in ipairs({ 'foreseen', 'slot', 'slot_peak', 'missed' }) do record_set(scale, field, nil) end
    return
  end
  local slot, highest = math.floor(wall_ms / SLOT_MS), 0
  if scale.slot and scale.slot ~= slot then
    record_set(scale, 'missed', week_close(scale, week_key, each) and 1 or nil)
    record_set(scale, 'slot_peak', nil)
  end
  record_set(scale, 'slot', slot)
  record_set(scale, 'slot_peak', math.max(scale.slot_peak or 0, scale.average))
  local last = scale.missed and slot - 1 or math.floor((wall_ms + scale.ahead_ms) / SLOT_MS)
  for k = slot, last do highest = math.max(highest, week_get(week_key, k)) end
  record_set(scale, 'foreseen', tonumber(decimal(highest, 1)))
end
