--- @include "select/admit"
--- @include "select/restrict"
--- @include "limit/adaptive"
--- @include "select/score"
--- @include "select/region"
--- @include "breaker/relief"
-- One deployment as `acquire` sees it. A summary older than a second is read anew from the window, so that a
-- deployment without traffic is not judged for ever by its last bad minute.
local SUMMARY_FRESH_MS = 1000

local function candidate_read(position, tier, keys, k, policy, domain, tokens, kind)
  local d, now, leases_key = deployment_read(keys[k], domain), domain.now, keys[k + 1]
  if not d.config_version then return nil end
  local c = { position = position, tier = tier, deployment = d, leases_key = leases_key,
    active = deployment_active(leases_key, d, now), limit = adapt_limit(d), verdict = false, wait_ms = false,
    state = false, health = 0, ramp = 0, merit = 0, score = 0 }
  if (d.requests or 0) > 0 and now - (d.refreshed_at_ms or 0) >= SUMMARY_FRESH_MS then
    health_refresh(d, window_read(redis.call('GET', keys[k + 2]) or '', now), now)
  end
  admit(c, policy, now, tokens, kind)
  return c
end

-- KEYS from `first` on hold (deployment, leases, window) per candidate, and perhaps rtt:<region>; tiers is '0,0,1'.
-- Returns nil when a candidate is not configured (flush, first start). `is_first`: a first attempt notes relief.
-- `restriction`: as restrict_apply takes it.
local function candidates_read(keys, first, tiers, policy, domain, tokens, kind, is_first, restriction)
  local candidates, now = {}, domain.now
  for tier in string.gmatch(tiers, '%d+') do
    local position = #candidates + 1
    local c = candidate_read(position, tonumber(tier), keys, first + 3 * (position - 1), policy, domain, tokens, kind)
    if not c then return nil end
    candidates[position] = c
  end
  if restriction and restriction ~= '' then restrict_apply(restriction, candidates, domain.key) end
  score_all(candidates, policy, now)
  if is_first then relief_note(candidates, policy, now) end
  region_apply(candidates, keys, first)
  return candidates
end
