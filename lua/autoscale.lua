--- @include "store/domain"
--- @include "store/replica"
--- @include "store/event"
--- @include "autoscale/demand"
--- @include "autoscale/scaling"
-- Computes how many replicas the cluster should have. Each replica reports once a second how many requests wait in its
-- queues. The first report of a second triggers the computation; all replicas get the same result. The newest settings
-- win.
--
-- KEYS  1 global HASH, 2 leases ZSET, 3 events STREAM, 4 replicas ZSET, 5 replica HASH (this one), 6 autoscale HASH,
--       7 autoscale week HASH, then per deployment: deployment HASH
-- ARGV  1 requests that wait on this replica, 2 dead_after_ms, 3 version of the settings, 4 target_concurrency of a
--       replica, 5 utilization (0..1), 6 min_replicas, 7 max_replicas, 8 scale_down_delay_ms, 9 ahead_ms (0: last
--       week's load is not looked at), 10 active requests of this replica in other domains, where there are any:
--       deployments there serve as many at once as they do now
-- reply now_ms, then what the autoscale hash holds: field, value ...; {} where the store knows of no cluster yet
local global_key, leases_key, events_key, replicas_key, replica_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local scale_key, week_key, FIRST, JUDGE_EVERY_MS = KEYS[6], KEYS[7], 8, 900
local waiting, dead_after_ms, version = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local given = { target_concurrency = tonumber(ARGV[4]), utilization = tonumber(ARGV[5]),
  min_replicas = tonumber(ARGV[6]), max_replicas = tonumber(ARGV[7]), scale_down_delay_ms = tonumber(ARGV[8]),
  ahead_ms = tonumber(ARGV[9]) }

local elsewhere = tonumber(ARGV[10] or '')

local domain = domain_read(global_key,
  { 'epoch', 'schema', 'sequence', 'clock_ms', 'clock_offset_ms', 'learning_until_ms' })
if domain_foreign(domain) then return domain_foreign(domain) end
if not domain.epoch then return {} end
local now, scale, before = domain.now, record_read(scale_key), nil
local is_due = now - (scale.evaluated_at_ms or 0) >= JUDGE_EVERY_MS

if version > (scale.version or 0) then desired_settings(scale, given, version, now) end
if is_due then
  before = scale.desired
  -- Its own number comes with this call; the others have reported theirs.
  local others = demand_told('waiting', replicas_key, replica_key, now - dead_after_ms)
  local away = elsewhere and elsewhere + demand_told('elsewhere', replicas_key, replica_key, now - dead_after_ms) or 0
  local replicas = redis.call('ZCOUNT', replicas_key, now - dead_after_ms, '+inf')
  record_set(scale, 'active', demand_active(leases_key, now) + away)
  record_set(scale, 'waiting', others + waiting)
  record_set(scale, 'limit', demand_limit(KEYS, FIRST) + away)
  record_set(scale, 'replicas', replicas)
  scaling_judge(scale, now, now < (domain.learning_until_ms or 0), week_key, clock_ms(global_key))
end

replica_show(replica_key, dead_after_ms, { 'waiting', waiting })
if elsewhere then replica_show(replica_key, dead_after_ms, { 'elsewhere', elsewhere }) end
record_write(scale)
if before and before ~= scale.desired then
  event_add(events_key, domain, 'desired_replicas', before, scale.desired, scale.reason, 0)
end
local reply = { now }
for _, field in ipairs(DESIRED_FIELDS) do
  if scale[field] then reply[#reply + 1], reply[#reply + 2] = field, tostring(scale[field]) end
end
return reply
