--- @include "store/record"
--- @include "budget/calendar"
--- @include "budget/reservation"
-- Money, in whole micro-units of the currency of the prices: HASH `budget:domain`, `budget:tenant:<name>` with spent,
-- reserved, and as of the last grant amount, per, period, ends_at_ms. Guarantee: spent + reserved <= amount at each
-- grant. Reservations carry over into a new period, and a call's cost counts in the period in which the call ends.
-- A call brings its budgets and its highest cost with each candidate: 'amount per amount per cost ...', the domain's
-- before the tenant's, '-' for none. One function creates the others: a script creates its functions anew in every
-- call, and requests without a budget do not pay for them.
local function budgets_read(global_key, token, text, resend, now)
  if resend > 0 then reservation_end(global_key, token, -1) end  -- its lease has expired since
  local budgets, words = { scopes = '', costs = {} }, string.gmatch(text, '%S+')

  local function read(key, amount, per)
    local b = record_read(key, { 'spent', 'reserved', 'amount', 'per', 'period', 'ends_at_ms' })
    local is_same = b.per == per
    if not is_same or (b.ends_at_ms and now >= b.ends_at_ms) then
      -- Another kind of period begins with the spending of the one before: its time is unknown.
      if is_same then record_set(b, 'spent', nil) end
      record_set(b, 'per', per)
      local period, ends_at_ms = calendar_period(per, now)
      record_set(b, 'period', period)
      record_set(b, 'ends_at_ms', ends_at_ms)
    end
    if b.amount ~= amount then record_set(b, 'amount', amount) end
    b.taken = (b.spent or 0) + (b.reserved or 0)
    return b
  end

  for _, scope in ipairs({ 'domain', 'tenant' }) do
    local amount, per = tonumber(words()), words()
    local key = string.gsub(global_key, 'global$', 'budget:') .. scope
    if scope == 'tenant' then key = key .. ':' .. (string.match(token, ' (.+)$') or '') end
    if amount then
      local b = read(key, amount, per)
      b.scope, budgets.scopes = scope, budgets.scopes .. ' ' .. scope
      budgets[#budgets + 1] = b
    end
  end
  for cost in words do budgets.costs[#budgets.costs + 1] = tonumber(cost) end
  return budgets
end
