--- @include "select/admit"
--- @include "limit/adaptive"
--- @include "select/score"
--- @include "select/region"
--- @include "select/suspect"
--- @include "breaker/relief"
-- One deployment as `acquire` sees it. A summary older than a second is read anew: its last bad minute is over.
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
local function candidates_read(keys, first, tiers, policy, domain, tokens, kind, is_first)
  local candidates, now = {}, domain.now
  for tier in string.gmatch(tiers, '%d+') do
    local position = #candidates + 1
    local c = candidate_read(position, tonumber(tier), keys, first + 3 * (position - 1), policy, domain, tokens, kind)
    if not c then return nil end
    candidates[position] = c
  end
  suspects_note(candidates, domain)
  score_all(candidates, policy, now)
  if is_first then relief_note(candidates, policy, now) end
  region_apply(candidates, keys, first)
  return candidates
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
