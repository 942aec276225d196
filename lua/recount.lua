--- @include "store/domain"
--- @include "budget/calendar"
--- @include "budget/reservation"
--- @include "store/event"
-- A replica sends a store amounts of budgets that the store may not know: after a flush or a failover the least that
-- was spent, as the replica last saw it; the spending on its standby store; and the reservations of its live calls. A
-- repeated call has no further effect: the first is a floor, the second has an id, the third the lease's token.
--
-- KEYS  1 global HASH, 2 leases ZSET, 3 events STREAM
-- ARGV  1 id of what was spent elsewhere ('' none), then per item four words: 'spent', scope, 'per period', micro-units
--       | 'add', scope, '', micro-units | 'reserve', token, scopes, micro-units
-- reply budgets raised, added (0 | 1), reservations taken
local global_key, leases_key, events_key, id = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local TOLD_KEPT_MS = 3600000

local domain, raised, reserved = domain_read(global_key), 0, 0
if domain_foreign(domain) then return domain_foreign(domain) end
local prefix = string.gsub(global_key, 'global$', '')
local is_new = id == '' or redis.call('SET', prefix .. 'told:' .. id, 1, 'NX', 'PX', TOLD_KEPT_MS)

local function spent_raise(scope, per, period, spent)
  local b = record_read(prefix .. 'budget:' .. scope, { 'spent', 'per', 'period', 'ends_at_ms' })
  local name, ends_at_ms = calendar_period(per, domain.now)
  local is_same = b.per == nil or (b.per == per and b.period == period)
  local before = is_same and b.spent or 0
  if name ~= period or (not is_same and (b.per ~= per or (b.period or '') > period)) or spent <= before then return end
  record_set(b, 'spent', spent)
  record_set(b, 'per', per)
  record_set(b, 'period', period)
  record_set(b, 'ends_at_ms', ends_at_ms)
  record_write(b)
  event_add(events_key, domain, 'budget:' .. scope, before, spent, 'reasserted', 0)
  raised = raised + 1
end

for k = 2, #ARGV, 4 do
  local kind, name, detail, amount = ARGV[k], ARGV[k + 1], ARGV[k + 2], tonumber(ARGV[k + 3])
  if kind == 'spent' then
    local per, period = string.match(detail, '^(%S+) (%S+)$')
    spent_raise(name, per, period, amount)
  elseif kind == 'add' then
    if is_new then redis.call('HINCRBY', prefix .. 'budget:' .. name, 'spent', amount) end
  elseif redis.call('ZSCORE', leases_key, name) then
    if not redis.call('HGET', prefix .. 'reservations', name) then
      redis.call('HSET', prefix .. 'reservations', name, decimal(amount, 0) .. ' ' .. detail)
      budget_charge(global_key, name, detail, -amount, 0)
      reserved = reserved + 1
    end
  end
end
return { raised, is_new and 1 or 0, reserved }
