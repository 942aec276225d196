--- @include "store/number"
--- @include "store/remembered"
-- A HASH, or some of its fields, read once into a table; changes are collected and written in one go at the end.
local function record_read(key, fields)
  local record = { key = key, changes = {}, changed = 0, writes = 0 }
  if fields then
    local values = redis.call('HMGET', key, unpack(fields))
    for position, field in ipairs(fields) do
      local value = values[position]
      if value then record[field] = tonumber(value) or value end
    end
    return record
  end
  local pairs_read = redis.call('HGETALL', key)
  for position = 1, #pairs_read, 2 do
    local value = pairs_read[position + 1]
    record[pairs_read[position]] = tonumber(value) or value
  end
  return record
end

-- nil removes the field: an absent field costs no memory and means its zero.
local function record_set(record, field, value)
  if value == nil and record[field] == nil then return end
  record[field] = value
  local position = record.changed + 1
  record.changes[position], record.changed = field, position
end

-- A record that outlives the call holds afterwards what reading it would give.
local record_words = {}  -- of the last write, used again by the next
local function record_write(record)
  local changes, set, size, removed = record.changes, record_words, 0, nil
  for position = 1, record.changed do
    local field = changes[position]
    local value = record[field]
    if value == nil then
      removed = removed or {}
      removed[#removed + 1] = field
    else
      set[size + 1], set[size + 2], size = field, value, size + 2
    end
  end
  if size > 0 then redis.call('HSET', record.key, unpack(set, 1, size)) end
  if removed then redis.call('HDEL', record.key, unpack(removed)) end
  record.changed, record.writes = 0, record.writes + 1
  if not outlives then return end
  for k = 1, size, 2 do record[set[k]] = tonumber(set[k + 1]) or set[k + 1] end
end
