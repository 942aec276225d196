--- @include "store/number"
--- @include "limit/room"
-- A decision's report on its candidates: a refusal lists each one's verdict; a traced decision lists them for a grant
-- as well, with their scores.
local function verdicts_tell(reply, candidates, picked, ask)
  if picked and not ask.traced then return end
  for _, c in ipairs(candidates) do
    reply[#reply + 1] = ask.traced and c.verdict .. '=' .. decimal(c.score, 1) or c.verdict
  end
end

-- The earliest time at which one may take a request again. Those without the endpoint count only if all lack it.
local function candidates_wait_ms(candidates)
  local wait, rest
  for _, c in ipairs(candidates) do
    if c.verdict == 'unsupported' then
      rest = math.min(rest or c.wait_ms, c.wait_ms)
    elseif c.wait_ms then
      wait = math.min(wait or c.wait_ms, c.wait_ms)
    end
  end
  return math.max(1, math.ceil(wait or rest or UNKNOWN_WAIT_MS))
end

-- Returns code and reason of a decision that grants nothing.
local function refusal_of(candidates, shed, limited, over, budget)
  if shed then return 'shed', shed end
  if limited then return 'limited', limited end
  if over then return 'over_budget', over end
  if not budget then return 'retry_budget', 'retry_budget' end
  if candidates.elsewhere then return 'owner', candidates.elsewhere end
  return 'none', candidates.owner and 'owned' or 'none'
end
