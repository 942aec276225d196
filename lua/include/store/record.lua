--- @include "store/number"
-- A HASH, or only some fields of it, read once into a table; changes are collected and written in one go at the end
-- of a script.
local function record_read(key, fields)
  local record = { key = key, changes = {} }
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
  record.changes[#record.changes + 1] = field
end

local function record_write(record)
  local set, removed = {}, {}
  for _, field in ipairs(record.changes) do
    if record[field] == nil then
      removed[#removed + 1] = field
    else
      set[#set + 1], set[#set + 2] = field, record[field]
    end
  end
  if #set > 0 then redis.call('HSET', record.key, unpack(set)) end
  if #removed > 0 then redis.call('HDEL', record.key, unpack(removed)) end
  record.changes = {}
end
