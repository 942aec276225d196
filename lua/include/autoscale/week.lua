--- @include "store/record"
-- The load of the week before, by which replicas are there before a surge that recurs: the highest average of every five
-- minutes, four bytes each. A week without the surge, such as one with a holiday, lowers what is remembered by a fifth.
-- When five minutes needed less than half of the replicas that were foreseen for them, the memory is not followed until
-- it agrees again.
local SLOT_MS, SLOTS_OF_WEEK, BYTES, PARTS, KEPT = 300000, 2016, 4, 16, 0.8

local function week_slot(at_ms)
  return math.floor(at_ms / SLOT_MS)
end

local function week_get(week_key, slot)
  local from = slot % SLOTS_OF_WEEK * BYTES
  local cell = redis.call('GETRANGE', week_key, from, from + BYTES - 1)
  return #cell == BYTES and struct.unpack('>I4', cell) / PARTS or 0
end

-- Learns the slot that has ended, and returns whether it was foreseen wrongly.
local function week_close(scale, week_key, each)
  local before, peak = week_get(week_key, scale.slot), scale.slot_peak
  local kept = math.min(math.floor(math.max(peak, KEPT * before) * PARTS), 4294967295)
  redis.call('SETRANGE', week_key, scale.slot % SLOTS_OF_WEEK * BYTES, struct.pack('>I4', kept))
  return 2 * math.ceil(peak / each) < math.ceil(before / each)
end

-- `wall_ms`: the store's clock. Sets `foreseen`: the highest load of last week from now to `ahead_ms` later.
local function week_foresee(scale, week_key, wall_ms, each)
  if scale.ahead_ms == 0 then
    for _, field in ipairs({ 'foreseen', 'slot', 'slot_peak', 'missed' }) do record_set(scale, field, nil) end
    return
  end
  local slot, highest = week_slot(wall_ms), 0
  if scale.slot and scale.slot ~= slot then
    record_set(scale, 'missed', week_close(scale, week_key, each) and 1 or nil)
    record_set(scale, 'slot_peak', nil)
  end
  record_set(scale, 'slot', slot)
  record_set(scale, 'slot_peak', math.max(scale.slot_peak or 0, scale.average))
  if not scale.missed then
    for k = slot, week_slot(wall_ms + scale.ahead_ms) do highest = math.max(highest, week_get(week_key, k)) end
  end
  record_set(scale, 'foreseen', tonumber(decimal(highest, 1)))
end
