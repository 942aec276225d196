--- @include "record"
-- Kinds of call whose endpoint a deployment does not have: `unsupported:<kind>` in its hash, the ms until which it gets
-- none of them. A success clears it at once. The mark is not reasserted to a store that has lost it, and each store
-- learns it by itself: one call and its fallback find it again.
local UNSUPPORTED_MS = 60000  -- what a provider has just added is found within a minute, at one fallback a minute
-- No other is ever written, or a hash could grow without end.
local UNSUPPORTED_KINDS = 'chat completions embeddings messages responses'

local function unsupported_learn(d, outcome, kind, now)
  if outcome == 'success' then
    record_set(d, 'unsupported:' .. kind, nil)
  elseif outcome == 'unsupported' then
    for known in string.gmatch(UNSUPPORTED_KINDS, '%a+') do
      if kind == known then record_set(d, 'unsupported:' .. kind, now + UNSUPPORTED_MS) end
    end
  end
end

local function unsupported_forget(d)
  for kind in string.gmatch(UNSUPPORTED_KINDS, '%a+') do record_set(d, 'unsupported:' .. kind, nil) end
end

-- The kinds that it does not get now, with spaces between; nil if none.
local function unsupported_now(d, now)
  local kinds = {}
  for kind in string.gmatch(UNSUPPORTED_KINDS, '%a+') do
    if (d['unsupported:' .. kind] or 0) > now then kinds[#kinds + 1] = kind end
  end
  return kinds[1] and table.concat(kinds, ' ')
end
