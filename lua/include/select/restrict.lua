--- @include "store/owner"
-- A request may restrict its decision to some of the candidates: `only`, ids of deployments, and `owned`, digests of
-- ids that it names. Any deployment of their owner's account can use what those ids name. The field `account` of a
-- deployment is '@' and the id of the account's first deployment; the first one has none.
local function restrict_account(id, account) return account or '@' .. id end

local function restrict_read(text, global_key)
  local given = cjson.decode(text)
  local restriction = { only = given.only and {}, owner = given.owned and owner_find(global_key, given.owned) }
  for _, id in ipairs(given.only or {}) do restriction.only[id] = true end
  if restriction.owner then
    local key = string.gsub(global_key, 'global$', 'deployment:' .. restriction.owner)
    restriction.account = restrict_account(restriction.owner, redis.call('HGET', key, 'account') or nil)
  end
  return restriction
end

-- Gives every other candidate the verdict `excluded`. `text`: JSON with the two lists. `candidates.owner` is the owner
-- where its account has a candidate that is left, `candidates.elsewhere` where it has none.
local function restrict_apply(text, candidates, global_key)
  local restriction, is_left = restrict_read(text, global_key), false
  for _, c in ipairs(candidates) do
    local d = c.deployment
    local is_own = not restriction.account or restrict_account(d.id, d.account) == restriction.account
    if is_own and (not restriction.only or restriction.only[d.id]) then
      is_left = true
    else
      c.verdict, c.wait_ms, c.probe = 'excluded', false, nil
    end
  end
  candidates[is_left and 'owner' or 'elsewhere'] = restriction.owner
end
