--- @flag "no-writes"
--- @include "store/domain"
-- Read-only: the spending and the reservations of budgets now, and the used part of tenants' minutes.
--
-- KEYS  1 global HASH, then per scope: budget HASH, limit HASH
-- ARGV  1 nothing
-- reply per scope { spent, reserved (micro-units), per, period, ms until it ends or 0 (nothing is spent of one that has
--       ended), requests_used_ms, tokens_used_ms (of the tenant's minute) }
local now, reply = domain_read(KEYS[1], { 'epoch', 'sequence', 'clock_ms', 'clock_offset_ms' }).now, {}
for k = 2, #KEYS, 2 do
  local b = record_read(KEYS[k], { 'spent', 'reserved', 'per', 'period', 'ends_at_ms' })
  local minute = record_read(KEYS[k + 1], { 'requests_at_ms', 'tokens_at_ms' })
  local left_ms = b.ends_at_ms and b.ends_at_ms - now
  if left_ms and left_ms <= 0 then b.spent, b.period, left_ms = 0, '', 0 end
  reply[#reply + 1] = { b.spent or 0, b.reserved or 0, b.per or '', b.period or '', left_ms or 0,
    math.max(0, math.ceil((minute.requests_at_ms or 0) - now)),
    math.max(0, math.ceil((minute.tokens_at_ms or 0) - now)) }
end
return reply
