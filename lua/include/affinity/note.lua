--- @include "affinity/pins"
local function affinity_why(pin, candidates, attempt)
  if pin.why and pin.why ~= 'absent' then return pin.why end
  for _, c in ipairs(candidates) do
    if c.deployment.id == pin.id then
      return c.verdict ~= 'eligible' and c.verdict or c.ramp < 1 and 'recovering' or 'tier'
    end
  end
  return attempt == 1 and 'gone' or 'failed'
end

-- Returns what a grant did to the pins: 'pinned', 'new', 'moved(<why>)', or 'none' where it leaves them alone. A
-- probe or a last resort moves no pin: it may not serve, and a session would run back with it.
local function affinity_word(candidates, picked, attempt)
  if not candidates.pins or picked.probe or picked.resort then return 'none' end
  for _, pin in ipairs(candidates.pins) do
    if pin.id == picked.deployment.id then return 'pinned' end
    if pin.id then return 'moved(' .. affinity_why(pin, candidates, attempt) .. ')' end
  end
  return 'new'
end

-- Pins the session to the picked deployment, and those prefixes that have no pin or whose pin was passed over. A first
-- turn leaves the pin that it does not see.
local function affinity_note(domain, policy, candidates, picked, attempt)
  local word, id, entries = affinity_word(candidates, picked, attempt), picked.deployment.id, {}
  if word == 'none' then return word end
  for position, pin in ipairs(candidates.pins) do
    local is_free = not pin.is_hidden and (position == 1 or not pin.id or pin.why)
    if pin.id == id and pin.is_due or pin.id ~= id and is_free then
      local sign = pin.is_first and not pin.id and '?' or ' '
      entries[#entries + 1], entries[#entries + 2] = pin.hash, string.format('%d%s%s', domain.now, sign, id)
    end
  end
  if #entries > 0 then pins_write(domain, policy, entries, domain.now) end
  return word
end
