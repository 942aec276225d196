--- @include "store/number"
-- A decision's report on its candidates: a refusal lists each one's verdict; a traced decision lists them for a grant
-- as well, with their scores.
local function verdicts_tell(reply, candidates, picked, ask)
  if picked and not ask.traced then return end
  for _, c in ipairs(candidates) do
    reply[#reply + 1] = ask.traced and c.verdict .. '=' .. decimal(c.score, 1) or c.verdict
  end
end
