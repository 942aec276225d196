--- @include "store/record"
-- A call carries the number of the connection it was sent on. A call that arrives after calls of a later connection was
-- overtaken: its replica has sent it again, and may already have ended the lease that would be granted now.
local function era_field(replica) return 'era:' .. replica end

local function era_is_over(domain, replica, era)
  return era < (domain[era_field(replica)] or 0)
end

-- The first connection needs no record.
local function era_note(domain, replica, era)
  if era > math.max(1, domain[era_field(replica)] or 0) then record_set(domain, era_field(replica), era) end
end

local function era_forget(domain, replica)
  record_set(domain, era_field(replica), nil)
end
