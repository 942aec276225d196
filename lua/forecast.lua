--- @include "store/domain"
--- @include "store/policy"
--- @include "forecast/minute"
-- The forecast's tick: learns from the last minute, and writes the forecast of the coming minutes to fields that
-- `acquire` reads anyway. Guarantees: a deployment's minute counts once, whichever replica ticks and however often; no
-- breaker moves. Does nothing where the newest policy has no forecast.
--
-- KEYS  1 global HASH, 2 policy STRING (JSON), then per deployment: deployment HASH, window STRING, forecast HASH,
--       season STRING
-- ARGV  1 how long (ms) a forecast is used when no newer one follows
-- reply deployments ticked, now_ms
local global_key, policy_key, FIRST, valid_ms = KEYS[1], KEYS[2], 3, tonumber(ARGV[1])
local CUT_FROM = 0.7

local policy, domain = policy_read(policy_key), domain_read(global_key, { 'epoch', 'schema', 'sequence', 'clock_ms',
  'clock_offset_ms', 'forecast_minute', 'forecast_active', 'forecast_cut', 'forecast_until_ms' })
if domain_foreign(domain) then return domain_foreign(domain) end
local now, wall_ms = domain.now, clock_ms(global_key)
local minute, ahead_ms = math.floor(now / MINUTE_MS), policy and policy.forecast_ahead_ms or 0
if not domain.epoch or ahead_ms == 0 then return { 0, now } end

local ticked, active, changed = 0, 0, {}
for k = FIRST, #KEYS, 4 do
  local f = record_read(KEYS[k + 2])
  if (f.minute or 0) < minute then
    local d = record_read(KEYS[k], { 'config_version', 'state', 'active', 'limit', 'adapted', 'changed_at_ms',
      'forecast_share', 'forecast_until_ms' })
    if d.config_version then
      record_set(f, 'minute', minute)
      local keys = { window = KEYS[k + 1], season = KEYS[k + 3] }
      active = active + minute_run(f, d, keys, now, wall_ms, ahead_ms, now + valid_ms)
      ticked = ticked + 1
      changed[#changed + 1], changed[#changed + 2] = f, d
    end
  end
end

for _, record in ipairs(changed) do record_write(record) end
if ticked > 0 then
  -- Deployments may come in several calls: the domain's minute is their sum.
  if domain.forecast_minute == minute then active = active + (domain.forecast_active or 0) end
  local cut = (policy.forecast_cut or 0) * clamp((active / policy.max_active - CUT_FROM) / (1 - CUT_FROM), 0, 1)
  domain_advance(domain, domain.epoch)
  record_set(domain, 'forecast_minute', minute)
  record_set(domain, 'forecast_active', decimal(active, 1))
  record_set(domain, 'forecast_cut', cut > 0 and decimal(cut, 3) or nil)
  record_set(domain, 'forecast_until_ms', cut > 0 and now + valid_ms or nil)
  record_write(domain)
end
return { ticked, now }
