--- @include "store/domain"
--- @include "budget/calendar"
-- Adds what a replica's tenants used of each model to the store's day: HASH `usage:<day>`, by 'tenant model' the counts
-- 'requests errors input output cached written cost' (tokens, and micro-units), and under `rows` how many there are. A
-- repeated call has no further effect: calls of a replica have numbers that rise, and the last one is kept.
--
-- KEYS  1 global HASH
-- ARGV  1 replica, 2 number of the call (from 1), 3 ms since its first count, then per row: tenant, model, requests,
--       errors, input, output, cached, written, cost
-- reply added (0 | 1)
local global_key, replica, number, age_ms = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local FIELDS, COUNTS, ROWS_MOST = 9, 7, 10000
local DAY_MS, KEPT_DAYS, SENT_KEPT_MS, COUNT_MOST = 86400000, 400, 86400000, 2 ^ 53

local domain = domain_read(global_key, { 'epoch', 'schema', 'clock_ms', 'clock_offset_ms' })
if domain_foreign(domain) then return domain_foreign(domain) end
local sent_key = string.gsub(global_key, 'global$', 'usage_sent:') .. replica
if (tonumber(redis.call('GET', sent_key) or nil) or 0) >= number then return { 0 } end
local day_key = string.gsub(global_key, 'global$', 'usage:') .. calendar_period('day', domain.now - age_ms)
local rows = tonumber(redis.call('HGET', day_key, 'rows') or nil) or 0
local set, added = {}, {}

-- Names are bounded here: tenants are made by admins, but clients may choose models.
local function row_of(tenant, model)
  for _, name in ipairs({ tenant .. ' ' .. model, tenant .. ' other' }) do
    local known = added[name] or redis.call('HGET', day_key, name)
    if known then return name, known end
    if rows < ROWS_MOST or (rows < 2 * ROWS_MOST and name == tenant .. ' other') then
      rows = rows + 1
      return name, ''
    end
  end
  return 'other other', added['other other'] or redis.call('HGET', day_key, 'other other') or ''
end

for k = 4, #ARGV, FIELDS do
  local name, before = row_of(ARGV[k], ARGV[k + 1])
  local next_count, counts = string.gmatch(before, '%d+'), {}
  for n = 1, COUNTS do
    local count = (tonumber(next_count() or nil) or 0) + tonumber(ARGV[k + 1 + n])
    counts[n] = decimal(math.min(count, COUNT_MOST), 0)
  end
  added[name] = table.concat(counts, ' ')
end
for name, counts in pairs(added) do
  set[#set + 1], set[#set + 2] = name, counts
end
redis.call('HSET', day_key, 'rows', decimal(rows, 0), unpack(set))
redis.call('PEXPIRE', day_key, KEPT_DAYS * DAY_MS)
redis.call('SET', sent_key, decimal(number, 0), 'PX', SENT_KEPT_MS)
return { 1 }
