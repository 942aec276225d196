--- @include "store/number"
-- What a decision reports of its candidates: a refusal each one's verdict; when it is traced, a grant as well, and how
-- good each one looked.
local function verdicts_tell(reply, candidates, picked, ask)
  if picked and not ask.traced then return end
  for _, c in ipairs(candidates) do
    reply[#reply + 1] = ask.traced and c.verdict .. '=' .. decimal(c.score, 1) or c.verdict
  end
end
