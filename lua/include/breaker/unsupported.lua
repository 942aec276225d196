--- @include "store/record"
-- Kinds of call whose endpoint a deployment lacks: `unsupported:<kind>` in its hash, the time until which it gets none
-- of them. A success clears the mark at once. It is not reasserted to a store that has lost it, and each store learns
-- it by itself: one call and its fallback find it again.
-- It lasts five seconds at first, twice as long each time that the endpoint is found missing again, a minute at most
-- (`unsupported_for:<kind>`): a route that is missing while a server starts costs seconds, one that never existed one
-- call a minute.
local UNSUPPORTED_FIRST_MS, UNSUPPORTED_MOST_MS = 5000, 60000
-- A single 404 means little for an endpoint that has served: `missing:<kind>` counts those since the last success, and
-- is absent before the first one. Other kinds are never written, or a hash could grow without end.
local UNSUPPORTED_AFTER = 3
local UNSUPPORTED_KINDS = { chat = true, completions = true, embeddings = true, messages = true, responses = true }

local function unsupported_set(d, kind, until_ms, for_ms)
  record_set(d, 'unsupported:' .. kind, until_ms)
  record_set(d, 'unsupported_for:' .. kind, for_ms)
end

local function unsupported_learn(d, outcome, kind, now)
  local missing = d['missing:' .. kind]
  if not UNSUPPORTED_KINDS[kind] then return end
  if outcome == 'success' then
    unsupported_set(d, kind, nil, nil)
    if missing ~= 0 then record_set(d, 'missing:' .. kind, 0) end
  elseif outcome == 'unsupported' and (d['unsupported:' .. kind] or 0) <= now then
    if missing then record_set(d, 'missing:' .. kind, missing + 1) end
    if missing and missing + 1 < UNSUPPORTED_AFTER then return end
    local for_ms = math.min(UNSUPPORTED_MOST_MS, 2 * (d['unsupported_for:' .. kind] or UNSUPPORTED_FIRST_MS / 2))
    unsupported_set(d, kind, now + for_ms, for_ms)
  end
end

local function unsupported_forget(d)
  for kind in pairs(UNSUPPORTED_KINDS) do
    unsupported_set(d, kind, nil, nil)
    record_set(d, 'missing:' .. kind, nil)
  end
end

-- Returns the kinds that it gets none of now, separated by spaces; nil if there are none.
local function unsupported_now(d, now)
  local kinds = {}
  for kind in pairs(UNSUPPORTED_KINDS) do
    if (d['unsupported:' .. kind] or 0) > now then kinds[#kinds + 1] = kind end
  end
  table.sort(kinds)
  return kinds[1] and table.concat(kinds, ' ')
end
