--- @include "store/number"
-- Owners: the deployment that holds what a provider made for a caller, such as a response or a container. A HASH
-- `owners` (secret, part, since_ms, count) and up to OWNER_PARTS HASHes `owners:<part>` of deployments by the hash of
-- an id. Parts follow one another by time and by number, so that the oldest ids are dropped without a search. The
-- caller's digest holds its tenant; with the secret of the store it becomes a hash that reveals no id.
local OWNER_PARTS, OWNER_FIELD = 4, 24  -- characters: 96 bits, so that no two ids meet by chance

local function owner_key(global_key, part)
  return (string.gsub(global_key, 'global$', part and string.format('owners:%d', part) or 'owners'))
end

local function owner_fields(secret, digests)
  local fields = {}
  for k, digest in ipairs(digests) do fields[k] = string.sub(redis.sha1hex(secret .. digest), 1, OWNER_FIELD) end
  return fields
end

-- Returns the deployment that owns the first of these that has an owner, or nil.
local function owner_find(global_key, digests)
  local kept = redis.call('HMGET', owner_key(global_key), 'secret', 'part')
  if not kept[1] then return nil end
  local fields, newest, first, owner = owner_fields(kept[1], digests), tonumber(kept[2]), #digests + 1, nil
  for part = newest, newest - OWNER_PARTS + 1, -1 do
    for k, found in ipairs(redis.call('HMGET', owner_key(global_key, part), unpack(fields))) do
      if found and k < first then first, owner = k, found end
    end
  end
  return owner
end
