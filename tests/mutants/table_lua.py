"""Slips in the scripts: routing, breaking, shedding, limits, leases."""

from tests.mutants.slip import Slip, Table

_LUA = "tests/lua/"
ACQUIRE, ADAPTIVE, BEAT, BREAKER = (f"{_LUA}test_{name}.py" for name in ("acquire", "adaptive", "beat", "breaker"))
CONFIGURE, FAIR, FORCE, HEALTH = (f"{_LUA}test_{name}.py" for name in ("configure", "fair", "force", "health"))
LEASE, LIMIT, MODEL, REAP = (f"{_LUA}test_{name}.py" for name in ("lease", "limit", "model", "reap"))
REASSERT, REGION, RETRY, SELECT = (f"{_LUA}test_{name}.py" for name in ("reassert", "region", "retry_budget", "select"))
SETTLE, SHED, TENANT, TIER = (f"{_LUA}test_{name}.py" for name in ("settle", "shed", "tenant", "tier"))
BUDGET, WINDOW = (f"{_LUA}test_{name}.py" for name in ("budget", "window"))
BASELINE, CONTENT, RELIEF = (f"{_LUA}test_{name}.py" for name in ("baseline", "content", "relief"))
GROUP, WEEK = f"{_LUA}test_group.py", f"{_LUA}test_autoscale_week.py"
RESORT, SLOW_START = f"{_LUA}test_last_resort.py", f"{_LUA}test_slow_start.py"
OWNER = f"{_LUA}test_owner.py"

HEALTH_CHECK = f"{_LUA}test_health_check.py"

KEPT = f"{_LUA}test_kept.py"

AFFINITY = f"{_LUA}test_affinity.py"

LUA: Table = {
    "lua/include/autoscale/week.lua": (
        Slip("KEPT * before", "before", WEEK, "a surge that is gone is never forgotten"),
        Slip("math.max(peak, KEPT * before)", "peak", WEEK, "one holiday erases the surge"),
        Slip(
            "return 2 * math.ceil(peak / each) < math.ceil(before / each)",
            "return false",
            WEEK,
            "a surge that does not come keeps its replicas",
        ),
        Slip(
            "local last = scale.missed and slot - 1 or ",
            "local last = ",
            WEEK,
            "a memory that was wrong is followed all day",
        ),
        Slip(
            "math.floor((wall_ms + scale.ahead_ms) / SLOT_MS)",
            "slot",
            WEEK,
            "replicas come when the surge does, not before",
        ),
        Slip("record_set(scale, 'slot_peak', nil)", "", WEEK, "a surge spreads to all later slots"),
        Slip(
            "math.floor(slot / SLOTS_OF_HOUR) % HOURS_OF_WEEK",
            "math.floor(slot / SLOTS_OF_HOUR)",
            WEEK,
            "last week is never found",
        ),
    ),
    "lua/include/autoscale/scaling.lua": (
        Slip(
            "local rises = math.max(wanted, ahead)", "local rises = wanted", WEEK, "what is foreseen starts no replica"
        ),
        Slip(
            "desired = math.max(needed, ahead)",
            "desired = needed",
            WEEK,
            "foreseen replicas leave before the surge",
        ),
        Slip("local ahead = scaling_within(scale, ", "local ahead = (", WEEK, "what is foreseen exceeds max_replicas"),
    ),
    "lua/include/affinity/note.lua": (
        Slip(
            "if not candidates.pins or picked.probe or picked.resort then",
            "if not candidates.pins or picked.resort then",
            AFFINITY,
            "a probe moves its session to a deployment that may not serve",
        ),
        Slip(
            "local sign = pin.is_first and not pin.id and '?' or ' '",
            "local sign = ' '",
            AFFINITY,
            "identical single requests go to one deployment",
        ),
        Slip(
            "not pin.is_hidden and (position",
            "(position",
            AFFINITY,
            "each first turn takes the pin of the conversations that begin alike",
        ),
    ),
    "lua/include/affinity/pick.lua": (
        Slip(
            "return policy.affinity_band * (d.cache_hit or 1)",
            "return policy.affinity_band",
            AFFINITY,
            "a deployment whose cache does not hold is worth a detour",
        ),
    ),
    "lua/include/affinity/pins.lua": (
        Slip(
            "redis.call('DEL', pins_key(domain, turn))",
            "",
            AFFINITY,
            "the number of pins has no bound",
        ),
        Slip(
            "or count * 2 >= policy.affinity_entries",
            "",
            AFFINITY,
            "pins in a short time have no bound",
        ),
        Slip(
            "turn, count = turn + 1, 0",
            "turn, count = turn + 1, count",
            AFFINITY,
            "once full, every new pin removes the older ones",
        ),
    ),
    "lua/include/affinity/learn.lua": (
        Slip(
            "if value and select(3, string.match(value, PIN)) == id then",
            "if value then",
            AFFINITY,
            "a late failure ends the pin that the session has elsewhere",
        ),
        Slip(
            "redis.call('HDEL', pins_key(domain, turn + 1), hash)",
            "",
            AFFINITY,
            "a turn that fails sends its session back to the deployment from which it moved",
        ),
    ),
    "lua/include/select/grant.lua": (
        Slip(
            "c.wait_ms = c.deployment.open_until_ms - now",
            "",
            BREAKER,
            "a client that finds the probes overdue gets a wait that ends before the breaker lets it through",
        ),
    ),
    "lua/include/store/kept.lua": (
        Slip(
            "tonumber(stored[1]) == domain.sequence and",
            "",
            KEPT,
            "decisions work by what another script has changed since",
        ),
        Slip(
            " and tonumber(stored[2]) == domain.clock_ms",
            "",
            KEPT,
            "a master that comes back works by another history of the same length",
        ),
        Slip(
            "and stored[3] == domain.epoch",
            "",
            KEPT,
            "a flushed store is taken for the one before",
        ),
        Slip(
            "or age_ms >= KEPT_MS",
            "",
            KEPT,
            "what an operator writes by hand is overwritten by what was there before",
        ),
        Slip(
            "if not domain or domain.is_taken then return nil end",
            "if not domain then return nil end",
            KEPT,
            "what a failed call has not written counts",
        ),
    ),
    "lua/include/store/record.lua": (
        Slip(
            "record[set[k]] = tonumber(set[k + 1]) or set[k + 1]",
            "record[set[k]] = set[k + 1]",
            f"{KEPT} {MODEL}",
            "the next decision compares text with numbers",
        ),
    ),
    "lua/include/store/deployment.lua": (
        Slip(
            "if records then records[key] = deployment end",
            "if records then records[1] = deployment end",
            KEPT,
            "nothing is kept of a deployment",
            "only slower",
        ),
    ),
    "lua/health_check.lua": (
        Slip(
            "math.max(d.checked_at_ms or 0, d.changed_at_ms or 0)",
            "(d.checked_at_ms or 0)",
            HEALTH_CHECK,
            "the first check comes at once, and a cooldown is as good as none",
        ),
        Slip(
            "record_set(d, 'checked_at_ms', now)",
            "",
            HEALTH_CHECK,
            "every replica checks, every second",
        ),
        Slip(
            "if number ~= generation then return { 0, generation } end",
            "",
            HEALTH_CHECK,
            "the answer to an old check ends a new cooldown",
        ),
        Slip(
            "if is_cooling or was_wrong or not is_due then",
            "if is_cooling or not is_due then",
            HEALTH_CHECK,
            "a provider that lists models but serves none gets a failing probe in every interval",
        ),
        Slip(
            "if is_cooling or was_wrong or not is_due then",
            "if was_wrong or not is_due then",
            HEALTH_CHECK,
            "a provider that requires patience is queried meanwhile",
        ),
        Slip(
            "d.state ~= 'open' or (d.open_until_ms",
            "(d.open_until_ms",
            HEALTH_CHECK,
            "what an operator has forced open for a time is let go by a check",
        ),
    ),
    "lua/acquire.lua": (
        Slip(
            "local shed = attempt == 1 and shed_reject(",
            "local shed = shed_reject(",
            SHED,
            "a further attempt of an admitted request is shed in the middle of its way",
        ),
        Slip(
            "if resend == 2 then return refused('not_granted') end",
            "",
            ACQUIRE,
            "a doubt about a lost reply takes a lease that no request uses",
        ),
        Slip(
            "if not shed then limited, limited_ms = tenant_refuse",
            "if not shed and attempt == 1 then limited, limited_ms = tenant_refuse",
            TENANT,
            "a further attempt takes no tokens, and its settle gives back those of others",
        ),
        Slip(
            "tenant_take(tenant, now)",
            "",
            TENANT,
            "tenants have no limit per minute",
        ),
        Slip(
            "retry_take(domain, budget)",
            "",
            RETRY,
            "further attempts cost nothing: an outage doubles the load",
        ),
        Slip(
            "if era_is_over(domain, replica, era) then return refused('overtaken') end",
            "",
            ACQUIRE,
            "a call that was overtaken by its repetition takes a second lease",
        ),
        Slip(
            "if attempt > 1 then window_add(",
            "if attempt > 2 then window_add(",
            SETTLE,
            "requests that fail for good for lack of retry budget do not count for shedding",
        ),
    ),
    "lua/settle.lua": (
        Slip(
            "local is_own = generation == d.generation",
            "local is_own = true",
            SETTLE,
            "results of an earlier generation open a breaker that has just recovered",
        ),
        Slip(
            "if start and lease_is_judged(start) and sample.failures == 0 then probe = false end",
            "",
            CONTENT,
            "a stream that is a probe counts twice",
        ),
        Slip(
            "if start and lease_is_judged(start) and sample.failures == 0 then probe = false end",
            "if start and lease_is_judged(start) then probe = false end",
            CONTENT,
            "a probe that breaks off counts as a success",
        ),
        Slip(
            "if not known or not d.config_version then",
            "if not d.config_version then",
            SETTLE,
            "settling twice counts twice",
        ),
        Slip(
            "redis.call('DEL', own_window_key)",
            "",
            BREAKER,
            "a recovered breaker opens again by the failures of before",
        ),
        Slip(
            "elseif not is_late then\n  window_add(own_window_key",
            "else\n  window_add(own_window_key",
            SETTLE,
            "late results lie in wait in the new window",
        ),
        Slip(
            "if final and (sample.calls == 1",
            "if (sample.calls == 1",
            SETTLE,
            "attempts that a fallback saved shed load",
        ),
        Slip(
            "if tpm > 0 then tenant_correct(",
            "if final and tpm > 0 then tenant_correct(",
            TENANT,
            "tokens of an attempt that failed are never given back to its tenant",
        ),
        Slip(
            "if x < ewma then x =",
            "if x > ewma then x =",
            SETTLE,
            "the latency average rises slowly: a slow deployment keeps its traffic",
        ),
    ),
    "lua/beat.lua": (
        Slip(
            "if policy and now - (domain.evaluated_at_ms or 0) >= EVALUATE_EVERY_MS then",
            "if policy then",
            BEAT,
            "every beat of every replica judges anew: the store's time grows with the replicas",
        ),
        Slip(
            "if d.config_version and d.state ~= 'disabled' then",
            "if d.config_version then",
            SHED,
            "a deployment that was disabled by hand sheds load",
        ),
        Slip(
            "if d.state == 'closed' and policy.breaker_enabled",
            "if d.state == 'closed'",
            BEAT,
            "a breaker that is turned off opens for overdue calls",
        ),
        Slip(
            "counted > 0 and healthy / counted or 1",
            "counted > 0 and healthy / counted or 0",
            SHED,
            "a domain without deployments sheds",
        ),
        Slip(
            "if is_stale and (d.requests or 0) > 0 then",
            "if is_stale and (d.requests or 0) > 20 then",
            HEALTH,
            "a deployment without traffic keeps the health of its last bad minute",
        ),
    ),
    "lua/configure.lua": (
        Slip(
            "if version < in_force or is_other then return",
            "if version < in_force then return",
            CONFIGURE,
            "a configuration that is not in force writes its policies",
        ),
        Slip(
            "if version == own_version then return",
            "if version <= own_version then return",
            CONFIGURE,
            "what a clock that was ahead has written stays",
        ),
        Slip(
            "if version < in_force or is_other then return",
            "if is_other then return",
            CONFIGURE,
            "a replica with an older configuration takes the newer policy back",
        ),
        Slip(
            "if version == own_version then return",
            "if false then return",
            CONFIGURE,
            "replicas that start one after the other write the same again and again",
        ),
        Slip(
            "if ARGV[k + 1] == '' then record_set(own, ARGV[k], nil) else",
            "if ARGV[k + 1] ~= '' then",
            CONFIGURE,
            "a limit that was taken out of the configuration stays",
        ),
    ),
    "lua/force.lua": (
        Slip(
            "if d.forced_by == ARGV[6] then",
            "if false then",
            FORCE,
            "a call that is sent again moves the breaker twice",
        ),
        Slip(
            "for _, field in ipairs({ 'changed_at_ms', 'trips' }) do",
            "for _, field in ipairs({ 'trips' }) do",
            FORCE,
            "an operator who closes gets a slow start",
        ),
        Slip(
            "ttl_ms > 0 and domain.now + ttl_ms or nil",
            "domain.now + ttl_ms",
            FORCE,
            "open until closed lasts no time at all",
        ),
        Slip(
            "if action == 'reset' then",
            "if true then",
            FORCE,
            "closing a breaker gives the rate limit back",
        ),
    ),
    "lua/reassert.lua": (
        Slip(
            "record_set(d, 'cool_until_ms', math.max(d.cool_until_ms or 0, now + cool_ms))",
            "record_set(d, 'cool_until_ms', now + cool_ms)",
            SETTLE,
            "a replica that knows less shortens a Retry-After",
        ),
        Slip(
            "record_set(d, 'arrival_at_ms', math.max(d.arrival_at_ms or 0, now + used_ms))",
            "record_set(d, 'arrival_at_ms', now + used_ms)",
            REASSERT,
            "a replica that knows less gives a used-up rate limit back",
        ),
        Slip(
            "if (is_own or is_news) and d.state == 'closed' and",
            "if d.state == 'closed' and",
            REASSERT,
            "old news of a trip opens a breaker that has moved on",
        ),
        Slip(
            "if start + d.lease_ms > now and not",
            "if not",
            REASSERT,
            "leases that have expired come back",
        ),
        Slip(
            "if era_is_over(domain, replica, era) then return",
            "if false then return",
            REASSERT,
            "leases that have ended meanwhile come back and count until they expire",
        ),
        Slip(
            "start > d.changed_at_ms - AGE_SLACK_MS",
            "start > d.changed_at_ms",
            REASSERT,
            "after a failover probes of the current generation no longer count",
        ),
        Slip(
            "if ARGV[k + 3] == '1' then",
            "if ARGV[k + 2] == '1' then",
            REASSERT,
            "streams that flow count as waiting for their first byte after a flush",
        ),
    ),
    "lua/reap.lua": (
        Slip(
            "if own_before_ms == 0 and beat and tonumber(beat) >= domain.now - dead_after_ms then",
            "if false then",
            REAP,
            "the leases of a replica that lives are removed",
        ),
        Slip(
            "and score >= d.changed_at_ms then probe_give_back(d)",
            "then probe_give_back(d)",
            REAP,
            "a dead probe of an earlier generation gives a permit of this one back",
        ),
        Slip(
            "done and -1 or offset + kept",
            "done and -1 or offset + chunk",
            REAP,
            "leases of a dead replica are skipped between two chunks",
        ),
        Slip(
            "reservation_end(global_key, members[k], -1)",
            "",
            BUDGET,
            "what a dead replica had reserved stays reserved for ever",
        ),
    ),
    "lua/include/select/admit.lua": (
        Slip(
            "(not policy.breaker_enabled and state ~= 'forced_open')",
            "not policy.breaker_enabled",
            BREAKER,
            "with the breaker off, what was forced open for a time counts as unhealthy for ever",
        ),
        Slip(
            "and (not d.open_until_ms or now < d.open_until_ms) then",
            "and (not d.open_until_ms or now <= d.open_until_ms) then",
            FORCE,
            "a breaker forced open for a time is held one ms longer than it says",
        ),
        Slip(
            "if d.probe_deadline_ms and now >= d.probe_deadline_ms then",
            "if false then",
            BREAKER,
            "probes that never report keep a deployment away for ever",
        ),
        Slip(
            "if (d.probes_issued or 0) >= policy.probes then",
            "if (d.probes_issued or 0) > policy.probes then",
            BREAKER,
            "one probe more than configured hits a provider that may be down",
        ),
        Slip(
            "elseif now < d.open_until_ms then",
            "elseif now <= d.open_until_ms then",
            BREAKER,
            "a client that comes back when it was told to is refused again",
        ),
    ),
    "lua/include/limit/room.lua": (
        Slip(
            "if d.tpm and not wait_ms then",
            "if d.tpm then",
            LIMIT,
            "a deployment with rpm and tpm has no rpm limit",
        ),
        Slip(
            "if c.active >= limit then",
            "if c.active > limit then",
            ACQUIRE,
            "one request more than the limit",
        ),
        Slip(
            "if (d.cool_until_ms or 0) > now then",
            "if (d.cool_until_ms or 0) >= now then",
            SETTLE,
            "a client that comes back when Retry-After is over is refused again",
        ),
    ),
    "lua/include/breaker/judge_move.lua": (
        Slip(
            "if sample.failures == 1 then return 'probe_failed' end",
            "",
            BREAKER,
            "a failed probe recovers its deployment",
        ),
        Slip(
            "if sample.slow == 1 and relief_is_there(d, now) then return 'probe_slow' end",
            "if sample.slow == 1 then return 'probe_slow' end",
            RELIEF,
            "a lone deployment that thinks never recovers",
        ),
        Slip(
            "if sample.calls == 0 then\n    probe_give_back(d)",
            "if sample.calls == 0 then",
            BREAKER,
            "a cancelled probe is never given back: the breaker stays half open",
        ),
        Slip(
            "if sample.calls == 0 or sample.failures == 1 or (",
            "if sample.failures == 1 or (",
            RESORT,
            "a cancelled last resort makes a deployment that is down half-open",
        ),
        Slip(
            "if policy.probe_successes <= 1 then return",
            "if false then return",
            RESORT,
            "a standby store, for which one probe is enough, waits for a second one",
        ),
        Slip(
            "  probe_issue(d, now)\n",
            "",
            RESORT,
            "one probe more than allowed after a last resort",
        ),
        Slip(
            "if not is_probe or not policy then return nil end",
            "if not policy then return nil end",
            BREAKER,
            "calls of before the trip close a half-open breaker",
        ),
    ),
    "lua/include/select/last_resort.lua": (
        Slip(
            "if not policy.last_resort or has_more then return nil end",
            "if has_more then return nil end",
            RESORT,
            "router.last_resort: false is not obeyed",
        ),
        Slip(
            "policy.last_resort or has_more then return nil end",
            "policy.last_resort then return nil end",
            RESORT,
            "a provider that fails is called although another domain has a healthy one",
        ),
        Slip(
            "local RESORT_EVERY_MS = 1000",
            "local RESORT_EVERY_MS = 100",
            RESORT,
            "ten requests a second meet a provider that is down",
        ),
        Slip(
            "if c.verdict == 'full' or c.verdict == 'behind' or c.verdict == 'rate_limited' then return nil end",
            "",
            RESORT,
            "a request that could wait for room goes to a provider that fails",
        ),
        Slip(
            "if picked then record_set(picked.deployment, 'last_resort_at_ms', now) end",
            "",
            RESORT,
            "every request meets the provider that is down",
        ),
        Slip(
            "last = math.max(last, c.deployment.last_resort_at_ms or 0)",
            "last = c.deployment.last_resort_at_ms or 0",
            RESORT,
            "one probe a second for each deployment instead of each model",
        ),
        Slip(
            "if not verdict and rest_ms <= 0",
            "if rest_ms <= 0",
            RESORT,
            "a provider that requires a pause is probed during it",
        ),
        Slip(
            "math.max(rest_ms > 0 and rest_ms or RESORT_EVERY_MS, room_ms or 0)",
            "(rest_ms > 0 and rest_ms or RESORT_EVERY_MS)",
            RESORT,
            "clients return every second to a provider that requires a longer pause",
        ),
        Slip(
            "picked.deployment.state == 'open'\n",
            "true\n",
            RESORT,
            "calls beyond the probes of a half-open breaker move it",
        ),
    ),
    "lua/include/select/resort_serving.lua": (
        Slip(
            "math.max(1, math.floor(c.limit / 2))",
            "c.limit",
            RESORT,
            "a slow provider gets its whole limit",
        ),
        Slip(
            "or d.state == 'half_open' and (d.probes_succeeded or 0) > 0",
            "",
            RESORT,
            "callers are refused while a recovered provider is on trial",
        ),
        Slip(
            "c.sooner < picked.sooner",
            "c.sooner > picked.sooner",
            RESORT,
            "the slowest of the slow is called first",
        ),
        Slip(
            "verdict, wait_ms = 'behind', FAIR_WAIT_MS end",
            "verdict, wait_ms = nil, nil end",
            RESORT,
            "a tenant that waits for a slow provider is overtaken",
        ),
        Slip(
            "        c.verdict, c.wait_ms = verdict, wait_ms\n",
            "        c.wait_ms = wait_ms\n",
            RESORT,
            "a request is refused where it could wait for a slow provider",
        ),
    ),
    "lua/content.lua": (
        Slip(
            "d.generation == generation and lease_is_probe(start)",
            "lease_is_probe(start)",
            CONTENT,
            "a stream of before the trip closes the breaker",
        ),
        Slip(
            "d.generation == generation and lease_is_probe(start)",
            "d.generation == generation",
            CONTENT,
            "calls that are no probes count as probes",
        ),
        Slip(
            "  and not lease_is_judged(start)",
            "",
            CONTENT,
            "a first content that is sent again counts twice",
        ),
        Slip(
            "redis.call('ZADD', leases_key, 'XX', start + LEASE_JUDGED, token)",
            "",
            CONTENT,
            "a stream that is a probe counts twice",
        ),
    ),
    "lua/include/limit/limit.lua": (
        Slip(
            "used and (used - math.min(estimated, per_minute))",
            "used and (used - estimated)",
            LIMIT,
            "a correction gives back more than the estimate took: the limit of tokens is gone",
        ),
        Slip(
            "local step = math.min(amount, per_minute) * MINUTE_MS / per_minute",
            "local step = amount * MINUTE_MS / per_minute",
            TENANT,
            "a request of more tokens than a minute has is never admitted",
        ),
        Slip(
            "math.floor((math.max(now, arrival_at_ms or 0) + step) * 1000) / 1000",
            "math.max(now, arrival_at_ms or 0) + step",
            LIMIT,
            "rounding costs one request of each minute",
        ),
        Slip(
            "if arrival - MINUTE_MS <= now then",
            "if arrival - MINUTE_MS < now then",
            LIMIT,
            "a limit of 100 admits 99 at once",
        ),
        Slip(
            "return math.max(now, arrival_at_ms or 0) + step",
            "return (arrival_at_ms or 0) + step",
            TENANT,
            "tokens used beyond the estimate after a pause are forgotten",
        ),
        Slip(
            "return 1 - math.max(0, (arrival_at_ms or 0) - now) / MINUTE_MS",
            "return 1 - ((arrival_at_ms or 0) - now) / MINUTE_MS",
            SELECT,
            "usage-based prefers what has been idle for longest instead of sharing among what is free",
        ),
    ),
    "lua/include/breaker/breaker.lua": (
        Slip(
            "math.max(base, policy.max_cooldown_ms))",
            "policy.max_cooldown_ms)",
            BREAKER,
            "a deployment's own cooldown above the maximum is cut",
        ),
        Slip(
            "local cooldown = math.min(base * 2 ^ (trips - 1), math.max(",
            "local cooldown = math.min(base * 2 ^ trips, math.max(",
            BREAKER,
            "the first trip lasts twice as long as configured",
        ),
        Slip(
            "if d.state == 'closed' then trips = trips -",
            "if d.state == 'open' then trips = trips -",
            BREAKER,
            "a trip of last week doubles the cooldown of today's",
        ),
        Slip(
            "record_set(d, 'generation', d.generation + 1)",
            "record_set(d, 'generation', d.generation + (state == 'half_open' and 0 or 1))",
            BREAKER,
            "late results of the open generation judge the probes",
        ),
        Slip(
            "for _, field in ipairs({ 'probes_issued', 'probes_succeeded', 'probe_deadline_ms' }) do",
            "for _, field in ipairs({ 'probes_issued', 'probe_deadline_ms' }) do",
            BREAKER,
            "one good probe of an earlier try closes the breaker together with one of now",
        ),
    ),
    "lua/include/breaker/cool.lua": (
        Slip(
            "if policy then cool_ms = math.min(policy.max_cooldown_ms, cool_ms) end",
            "",
            SETTLE,
            "a Retry-After of a day takes a deployment away for a day",
        ),
        Slip(
            "math.max(d.cool_until_ms or 0, now + cool_ms)",
            "now + cool_ms",
            SETTLE,
            "a shorter Retry-After ends a longer one",
        ),
        Slip(
            "if outcome ~= 'throttled' and not is_asked then",
            "if not is_asked then",
            SETTLE,
            "a throttled deployment that names no time does not cool",
        ),
        Slip(
            "(outcome == 'overloaded' or outcome == 'success')",
            "outcome == 'overloaded'",
            SETTLE,
            "a provider that has nothing left of its limit is called until it refuses",
        ),
    ),
    "lua/include/tenant/tenant_admit.lua": (
        Slip(
            "if limits.attempt ~= 1 then",
            "if limits.attempt > 1 then",
            TENANT,
            "another candidate of a request counts against its tenant's limit again",
        ),
        Slip(
            "limits.tpm > 0 and limit_take(tenant.tokens_at_ms, limits.tpm, limits.tokens, now) or nil",
            "nil",
            TENANT,
            "a further attempt takes no tokens, and its settle gives back those of others",
        ),
    ),
    "lua/include/select/candidate.lua": (
        Slip(
            "now - (d.refreshed_at_ms or 0) >= SUMMARY_FRESH_MS then",
            "false then",
            HEALTH,
            "a deployment without traffic is judged for ever by its last bad minute",
        ),
    ),
    "lua/include/select/verdict.lua": (
        Slip(
            "wait = math.min(wait or c.wait_ms, c.wait_ms)",
            "wait = math.max(wait or c.wait_ms, c.wait_ms)",
            ACQUIRE,
            "a client is told to wait for the last deployment instead of the first",
        ),
        Slip(
            "candidates.owner and 'owned' or 'none'",
            "'none'",
            OWNER,
            "a request of several domains leaves the one where its owner is",
        ),
    ),
    "lua/include/select/restrict.lua": (
        Slip(
            "return account or '@' .. id",
            "return '@' .. id",
            OWNER,
            "another model of the same account is refused what the first has made",
        ),
        Slip(
            "(not restriction.only or restriction.only[d.id])",
            "true",
            OWNER,
            "a request that demands the EU goes anywhere",
        ),
        Slip(
            "c.verdict, c.wait_ms, c.probe = 'excluded', false, nil",
            "c.verdict, c.wait_ms, c.probe = 'eligible', false, nil",
            OWNER,
            "a request goes to an account that does not know what it names",
        ),
    ),
    "lua/include/store/owner.lua": (
        Slip(
            "for part = newest, newest - OWNER_PARTS + 1, -1 do",
            "for part = newest, newest, -1 do",
            OWNER,
            "an owner is forgotten as soon as a part is full",
        ),
        Slip(
            "if found and k < first then first, owner = k, found end",
            "if found then first, owner = k, found end",
            OWNER,
            "a file decides instead of the response before",
        ),
        Slip(
            "redis.sha1hex(secret .. digest)",
            "digest",
            OWNER,
            "a reader of the store learns which ids a tenant has used",
        ),
    ),
    "lua/remember.lua": (
        Slip(
            "if is_new then redis.call('DEL', owner_key(global_key, part - OWNER_PARTS)) end",
            "",
            OWNER,
            "ids fill the store until they expire",
        ),
        Slip("redis.call('PEXPIRE', key, ttl_ms)", "", OWNER, "ids of an unused store stay for ever"),
        Slip("secret = kept[1] or secret", "", OWNER, "every replica forgets what the others have remembered"),
    ),
    "lua/include/breaker/probe.lua": (
        Slip(
            "if not d.probe_deadline_ms then\n",
            "if true then\n",
            BREAKER,
            "each further probe gives a silent one more time",
        ),
        Slip(
            "record_set(d, 'probes_succeeded', (d.probes_succeeded or 0) + 1)\n  probe_deadline_end(d)",
            "record_set(d, 'probes_succeeded', (d.probes_succeeded or 0) + 1)",
            BREAKER,
            "after a good probe a quiet hour opens the breaker again",
        ),
        Slip(
            "if (d.probes_issued or 0) <= (d.probes_succeeded or 0) then",
            "if true then",
            BREAKER,
            "one probe that reports takes the deadline of a silent one away",
        ),
        Slip(
            "math.max(0, (d.probes_issued or 0) - 1)",
            "(d.probes_issued or 0) - 1",
            REASSERT,
            "after a failover more probes than configured hit a provider that may be down",
        ),
    ),
    "lua/include/breaker/sample.lua": (
        Slip(
            "sample.own_ms > threshold",
            "sample.own_ms >= threshold",
            SETTLE,
            "a call exactly at its allowance counts as slow",
        ),
        Slip(
            "if not call.stream then own_ms =",
            "if call.stream then own_ms =",
            SETTLE,
            "a long whole answer makes its provider look slow",
        ),
        Slip(
            "own_ms = succeeded and own_ms or nil",
            "own_ms = own_ms",
            BASELINE,
            "the latency of failures is learned as usual",
        ),
    ),
    "lua/include/breaker/relief.lua": (
        Slip(
            "c.verdict == 'eligible' and d.state == 'closed'",
            "c.verdict == 'eligible'",
            RELIEF,
            "a breaker that waits for its probe passes for relief",
        ),
        Slip(
            "is_able = c.verdict == 'eligible' and",
            "is_able =",
            RELIEF,
            "a deployment that is full or cools passes for relief",
        ),
        Slip(
            "and (d.consecutive_slow or 0) < policy.slow_limit",
            "",
            RELIEF,
            "two slow deployments are each other's relief and both open",
        ),
        Slip(
            "able == 1 and last ~= c",
            "able == 1",
            RELIEF,
            "a deployment is its own relief and the last usable one opens",
        ),
        Slip(
            "c.tier == 0 and c.deployment",
            "c.deployment",
            RELIEF,
            "a fallback is judged by the chain of another model",
        ),
        Slip(
            "now - (d.relief_at_ms or 0) >= RELIEF_EVERY_MS",
            "true",
            RELIEF,
            "every decision writes the relief of each candidate",
        ),
        Slip(
            "now - d.relief_at_ms <= RELIEF_MS",
            "true",
            RELIEF,
            "relief that is long gone still opens a breaker",
        ),
    ),
    "lua/include/window/baseline.lua": (
        Slip(
            "return b.samples >= BASELINE_SAMPLES and math.max(",
            "return math.max(",
            BASELINE,
            "the first calls are judged by a baseline of a few samples",
        ),
        Slip(
            "math.max(BASELINE_LEAST_MS, BASELINE_TIMES * b.mean)",
            "BASELINE_TIMES * b.mean",
            BASELINE,
            "a fast deployment is slow at a few hundred ms",
        ),
        Slip(
            "stream and 'baseline_stream' or 'baseline_plain'",
            "'baseline_plain'",
            BASELINE,
            "plain calls are judged by what is usual for streams",
        ),
        Slip(
            "b.mean = math.min(b.ceiling, b.mean + BASELINE_GAIN * (x - b.mean))",
            "b.mean = b.mean + BASELINE_GAIN * (x - b.mean)",
            BASELINE,
            "a deployment that becomes slow is its own measure within minutes",
        ),
        Slip(
            "BASELINE_HOUR_MS, 0, 1)",
            "BASELINE_HOUR_MS, 0, 24)",
            BASELINE,
            "after an idle day the baseline takes any value at once",
        ),
        Slip(
            "if d.latency_threshold_ms then return d.latency_threshold_ms end",
            "",
            BASELINE,
            "a configured threshold is ignored",
        ),
        Slip(
            "if b.writes == d.writes then d[b.field] = text else",
            "if b.writes == d.writes then d[b.field] = nil else",
            BASELINE,
            "a block of calls removes the baseline",
        ),
    ),
    "lua/include/breaker/overdue_wait.lua": (
        Slip(
            "math.max(threshold, d.p99_ms or 0)",
            "threshold",
            BEAT,
            "calls no longer than usual are overdue",
        ),
        Slip(
            "has_relief and wait_ms or math.max(",
            "wait_ms or math.max(",
            BASELINE,
            "a lone model that thinks for five seconds is closed to its callers",
        ),
    ),
    "lua/include/breaker/overdue.lua": (
        Slip(
            "or has_relief and overdue >= active / 2)",
            "or overdue >= active / 2)",
            BASELINE,
            "a lone engine whose queue makes progress is closed to its callers",
        ),
        Slip(
            "answered < first and d.ewma_at_ms and d.ewma_at_ms <= now - wait_ms",
            "answered < first and (d.ewma_at_ms or 0) <= now - wait_ms",
            BASELINE,
            "a lone deployment that loads its model is taken for hung",
        ),
    ),
    "lua/include/breaker/judge.lua": (
        Slip(
            "local is_slow = sample.slow == 1 and relief_is_there(d, now)",
            "local is_slow = sample.slow == 1",
            RELIEF,
            "slowness closes the only deployment to its callers",
        ),
        Slip(
            "(d.consecutive_failures or 0) >= policy.failure_threshold",
            "(d.consecutive_failures or 0) > policy.failure_threshold",
            BREAKER,
            "the breaker opens one failure late",
        ),
        Slip(
            "elseif sample.calls == 1 then\n    record_set(d, 'consecutive_failures', nil)",
            "else\n    record_set(d, 'consecutive_failures', nil)",
            BREAKER,
            "a client's mistake between two failures starts the count anew",
        ),
        Slip(
            "if not sums or sums.calls < policy.min_calls then",
            "if not sums then",
            BREAKER,
            "one failure of two calls opens the breaker",
        ),
    ),
    "lua/include/window/window.lua": (
        Slip(
            "'PX', (SLICES + 1) * SLICE_MS)",
            "'PX', (SLICES - 1) * SLICE_MS)",
            WINDOW,
            "calls of the last minute are forgotten after 50 s without traffic",
        ),
        Slip(
            "unpack(words))[1] == index then return end",
            "unpack(words))[1] >= index then return end",
            WINDOW,
            "a slice of a clock that was ahead is never emptied",
            survives="the domain's clock never runs back, so no slice is ahead of it",
        ),
        Slip(
            "if latency_ms <= BUCKET_START_MS then return 0 end",
            "if latency_ms < BUCKET_START_MS then return 0 end",
            WINDOW,
            "a latency at the edge of the first bucket",
            survives="log(1) is 0: the other way leads to bucket 0 as well",
        ),
        Slip(
            "'OVERFLOW', 'SAT', 'GET'",
            "'GET'",
            WINDOW,
            "a full bucket starts again at nothing",
        ),
    ),
    "lua/include/window/window_read.lua": (
        Slip(
            "if age >= 0 and age < SLICES then",
            "if age >= 0 and age <= SLICES then",
            WINDOW,
            "a slice of the minute before counts",
        ),
        Slip(
            "local weight = age == SLICES - 1 and left or 1",
            "local weight = 1",
            WINDOW,
            "the window jumps every 10 s instead of sliding",
        ),
    ),
    "lua/include/breaker/health.lua": (
        Slip(
            "record_set(d, 'p95_ms', round(window_percentile(sums, 0.95)))",
            "record_set(d, 'p95_ms', round(window_percentile(sums, 0.99)))",
            WINDOW,
            "p95 shows p99",
        ),
        Slip(
            "record_set(d, 'p99_ms', round(window_percentile(sums, 0.99)))",
            "record_set(d, 'p99_ms', round(window_percentile(sums, 0.95)))",
            WINDOW,
            "p99 shows p95, and calls in flight count as overdue earlier",
        ),
        Slip(
            "if state == 'open' and now >= d.open_until_ms then return true end",
            "",
            SHED,
            "shedding keeps away the requests that an open breaker needs to recover",
        ),
        Slip(
            "((d.failures or 0) + 0.1) / ((d.requests or 0) + 10)",
            "(d.failures or 0) / math.max(1, d.requests or 0)",
            HEALTH,
            "one failed call of two takes the traffic away",
        ),
        Slip(
            "if not policy.breaker_enabled then state = 'closed' end",
            "",
            BREAKER,
            "a breaker that was turned off while open counts as unhealthy",
        ),
    ),
    "lua/include/shed/retry_budget.lua": (
        Slip(
            "if tokens < 1 then return nil end",
            "if tokens <= 0 then return nil end",
            RETRY,
            "a fraction of a token buys a retry",
        ),
        Slip(
            "tokens = math.min(RETRY_TOKENS_MOST, tokens)",
            "",
            RETRY,
            "a quiet hour buys a retry storm",
        ),
        Slip(
            "if attempt == 0 then return tokens end",
            "if attempt == 0 then return tokens - 1 end",
            RETRY,
            "another candidate for what nobody has failed costs a retry",
        ),
        Slip(
            "if attempt == 1 then return math.min(RETRY_TOKENS_MOST, tokens + policy.retry_ratio) end",
            "if attempt == 1 then return tokens + policy.retry_ratio end",
            RETRY,
            "a busy hour buys a retry storm",
            survives="the balance is cut to the most at every read, so what lies above it is never spent",
        ),
    ),
    "lua/include/shed/shed.lua": (
        Slip(
            "ratio < policy.min_healthy_ratio + 0.05 and ratio < 1)",
            "ratio < policy.min_healthy_ratio + 0.05)",
            SHED,
            "min_healthy_ratio: 1.0 never ends shedding",
        ),
        Slip(
            "\n    shed_busy_enough(n) and rate > 0.8 * policy.max_failure_rate)",
            "\n    rate > 0.8 * policy.max_failure_rate)",
            SHED,
            "shedding goes on for a handful of failures when traffic has ended",
        ),
        Slip(
            "return n >= math.max(SHED_MIN_REQUESTS, 5 * WINDOW_SECONDS)",
            "return n >= SHED_MIN_REQUESTS",
            SHED,
            "shedding on almost no traffic",
        ),
        Slip(
            "active >= 0.9 * policy.max_active or was_full)",
            "active >= 0.9 * policy.max_active)",
            SHED,
            "steady overload by short calls begins and ends shedding all the time",
        ),
        Slip(
            "rate > 0.8 * policy.max_failure_rate)",
            "rate > policy.max_failure_rate)",
            SHED,
            "shedding for failures flaps at its threshold",
        ),
    ),
    "lua/include/shed/shed_reject.lua": (
        Slip(
            "if active >= policy.max_active then return",
            "if active > policy.max_active then return",
            SHED,
            "one request more than max_active",
        ),
        Slip(
            "if priority > 0 and active >= policy.max_active * (1 - policy.critical_reserve)",
            "if active >= policy.max_active * (1 - policy.critical_reserve)",
            SHED,
            "critical requests have no reserve",
        ),
        Slip(
            "if priority > 0 and string.find(reasons, 'failure_rate', 1, true) then",
            "if string.find(reasons, 'failure_rate', 1, true) then",
            SHED,
            "critical requests are rejected at random",
        ),
        Slip(
            "if priority > 50 and string.find(reasons, 'healthy_ratio', 1, true)",
            "if priority >= 50 and string.find(reasons, 'healthy_ratio', 1, true)",
            SHED,
            "normal requests are shed while most deployments are ill",
        ),
        Slip(
            ", 0, 0.8)\n",
            ", 0, 1)\n",
            SHED,
            "nothing gets through any more that could show a recovery",
        ),
    ),
    "lua/include/limit/fair.lua": (
        Slip(
            "c.verdict == 'eligible' and not c.probe and fair_is_behind",
            "c.verdict == 'eligible' and fair_is_behind",
            FAIR,
            "a probe is withheld for a tenant that may never come",
        ),
        Slip(
            "if w.at_ms < now - FAIR_MS then",
            "if false then",
            FAIR,
            "who has left its queue holds everyone back",
        ),
        Slip(
            "(w.priority == ask.priority and w.share <= ask.share)",
            "(w.priority == ask.priority and w.share < ask.share)",
            FAIR,
            "at equal shares the one that waits is overtaken",
        ),
        Slip(
            "if is_granted and not ask.more then",
            "if is_granted then",
            FAIR,
            "those behind one that got a place no longer count as waiting",
        ),
    ),
    "lua/include/select/region.lua": (
        Slip(
            "rtt_ms * REGION_NEAR + REGION_NEAR_MS",
            "rtt_ms * REGION_NEAR",
            REGION,
            "regions 1 and 5 ms apart become two rings, and one of them carries everything",
        ),
        Slip(
            "rtt_ms * REGION_NEAR + REGION_NEAR_MS",
            "rtt_ms + REGION_NEAR_MS",
            REGION,
            "regions 80 and 95 ms away become two rings",
        ),
        Slip(
            "c.deployment.region and c.deployment.region ~= own",
            "c.deployment.region ~= own",
            REGION,
            "a deployment without a region is away everywhere",
        ),
    ),
    "lua/include/limit/gradient.lua": (
        Slip(
            "if 2 * active >= limit then",
            "if 2 * active > limit then",
            ADAPTIVE,
            "the limit stands still at exactly half use",
        ),
        Slip(
            "and calls >= GRADIENT_CALLS then",
            "then",
            ADAPTIVE,
            "one slow call moves the limit",
        ),
        Slip(
            "if long / short > 2 then long = 0.95 * long end",
            "",
            ADAPTIVE,
            "after a slow phase the limit does not see the next one",
        ),
        Slip(
            "local gradient = clamp(1.5 * long / short, 0.5, 1)",
            "local gradient = clamp(1.5 * long / short, 0.8, 1)",
            ADAPTIVE,
            "a provider whose latency has grown tenfold keeps most of its load",
        ),
    ),
    "lua/include/limit/adaptive.lua": (
        Slip(
            "if start < (d.cut_at_ms or 0) then return end",
            "",
            ADAPTIVE,
            "one bad round trip cuts the limit once per call",
        ),
        Slip(
            "math.max(ADAPT_FROM, 2 * active)",
            "2 * active",
            ADAPTIVE,
            "a refusal of an idle deployment leaves a limit of 1",
        ),
        Slip(
            "and d.adapted and 2 * active >= limit",
            "and d.adapted",
            ADAPTIVE,
            "the limit of an idle deployment rises unproved",
        ),
    ),
    "lua/include/lease/lease.lua": (
        Slip(
            "return start >= (deployment.changed_at_ms or 0) and",
            "return start > (deployment.changed_at_ms or 0) and",
            ACQUIRE,
            "a probe resent in the ms of the transition is lost for the breaker",
        ),
        Slip(
            "return redis.call('ZREM', leases, token) == 1",
            "redis.call('ZREM', leases, token)\n  return true",
            SETTLE,
            "settling twice counts twice",
        ),
        Slip(
            "'^([^ ]*)%.%a+%.%w+'",
            "'^([^. ]*)%.%a+%.%w+'",
            REAP,
            "a replica whose name has a dot is not found by its leases",
        ),
    ),
    "lua/include/lease/resend.lua": (
        Slip(
            "lease_is_resort(start))",
            "false)",
            RESORT,
            "a last resort whose reply was lost no longer passes for one",
        ),
        Slip(
            "and math.floor(start) + d.lease_ms > now then",
            "then",
            MODEL,
            "a call that is sent again gets a lease that has expired, beyond the limit",
        ),
    ),
    "lua/include/select/slow_start.lua": (
        Slip(
            "if not is_starting then return home end",
            "if true then return home end",
            f"{TIER} {SLOW_START}",
            "a recovered deployment gets all of its traffic back at once",
        ),
        Slip(
            "if not c.probe and c.health >= policy.min_health and",
            "if not c.probe and",
            f"{TIER} {SLOW_START}",
            "the slow start sends traffic to a fallback that fails",
        ),
        Slip(
            "c.ramp > above then",
            "true then",
            f"{TIER} {SLOW_START}",
            "a recovered deployment takes part in every decision at once",
        ),
        Slip(
            "if tier_best(healthy, 'ramp') > tier_best(furthest, 'ramp') then",
            "if #healthy > 0 and furthest == home then",
            SLOW_START,
            "while a tier and its fallback recover, the fallback that began last is flooded",
        ),
    ),
    "lua/include/breaker/group.lua": (
        Slip(
            "math.max(2, math.ceil(policy.group_share * d.group_size))",
            "math.max(1, math.ceil(policy.group_share * d.group_size))",
            GROUP,
            "one key that is bad makes the other one a suspect",
        ),
        Slip(
            "(g.failures or 0) >= policy.failure_threshold, {}, 0",
            "true, {}, 0",
            f"{GROUP} {MODEL}",
            "single failures on half of the keys are taken for an outage",
        ),
        Slip(
            "and now - at_ms <= GROUP_MS and not seen[id]",
            "and not seen[id]",
            f"{GROUP} {MODEL}",
            "breakers that opened minutes ago are taken for an outage",
        ),
        Slip(
            "and not seen[id] then",
            "then",
            f"{GROUP} {MODEL}",
            "a deployment that has opened counts twice",
        ),
        Slip(
            "if now - (g.at_ms or 0) > GROUP_MS and (g.until_ms or 0) <= now then",
            "if false then",
            MODEL,
            "failures of an hour ago begin the row",
        ),
        Slip(
            "until_ms + d.cooldown_ms)",
            "until_ms)",
            f"{GROUP} {MODEL}",
            "a suspicion ends before its deployments may be probed again",
        ),
        Slip(
            "record_set(g, 'since_ms', g.since_ms or now)",
            "record_set(g, 'since_ms', now)",
            MODEL,
            "each failure makes a suspect again of those that have succeeded since",
        ),
        Slip(
            "redis.call('PEXPIRE', g.key, until_ms - now)",
            "",
            GROUP,
            "groups that are no longer configured stay in the store",
        ),
    ),
    "lua/include/breaker/group_note.lua": (
        Slip(
            "or since_ms and start < tonumber(since_ms) then",
            "then",
            f"{GROUP} {MODEL}",
            "a long answer from before the outage ends the suspicion",
        ),
        Slip(
            "{ 'failures', 'opened:' .. d.id }",
            "{ 'failures' }",
            MODEL,
            "a deployment that has recovered still counts as failing",
        ),
        Slip(
            "since_ms and not select(2, group_failing(g, d, policy, now))",
            "since_ms",
            f"{GROUP} {MODEL}",
            "one good key clears all others while half of them are open",
        ),
        Slip(
            "and not FOR_SLOWNESS[opened.reason]",
            "",
            f"{GROUP} {MODEL}",
            "slow deployments are taken for an outage",
        ),
        Slip(
            "if not d.group or not policy or not policy.breaker_enabled then",
            "if not d.group or not policy then",
            GROUP,
            "groups are suspected although breakers are disabled",
        ),
        Slip(
            "if d.group then redis.call('DEL', group_key(domain, d)) end",
            "",
            f"{GROUP} {MODEL}",
            "an operator who closes a breaker cannot end a suspicion",
        ),
    ),
    "lua/include/select/suspect.lua": (
        Slip(
            "if rest_ms > 0 then return rest_ms end",
            "",
            f"{GROUP} {MODEL}",
            "suspects are probed without a pause",
        ),
        Slip(
            "if math.max(d.ewma_at_ms or 0, d.changed_at_ms or 0) >= since_ms then return nil end",
            "",
            f"{GROUP} {MODEL}",
            "a probe that succeeds gives nothing back while enough breakers are open",
        ),
        Slip(
            "local from = math.max(since_ms, now - d.lease_ms + 1)",
            "local from = since_ms",
            f"{GROUP} {MODEL}",
            "a probe whose replica died keeps a suspect out",
        ),
        Slip(
            "if first[2] and lease_is_answered(tonumber(first[2])) then return nil end",
            "",
            GROUP,
            "a stream keeps its deployment a suspect until its end",
        ),
        Slip(
            "return first[1] and UNKNOWN_WAIT_MS or 0",
            "return 0",
            f"{GROUP} {MODEL}",
            "suspects get full traffic as probes",
        ),
        Slip(
            "if others == 0 then return end",
            "",
            f"{GROUP} {MODEL}",
            "requests are refused for a suspicion",
        ),
        Slip(
            "if d.group and d.state == 'closed' and c.verdict == 'eligible' then",
            "if d.group and c.verdict == 'eligible' then",
            MODEL,
            "half-open breakers get fewer probes during an outage",
        ),
    ),
    "lua/include/select/tier.lua": (
        Slip(
            "if #probing > 0 then return",
            "if false then return",
            f"{TIER} {SELECT}",
            "a half-open deployment gets no probe while another one is healthy",
        ),
        Slip(
            "if not c.probe then healthy",
            "if true then healthy",
            TIER,
            "an ill home is left for a fallback whose breaker is half open",
        ),
        Slip(
            "if #healthy > 0 and tier_best(healthy, 'score') > bar then",
            "if #healthy > 0 then",
            TIER,
            "an ill home is left for a fallback that is no better",
        ),
    ),
    "lua/include/tenant/tenant.lua": (
        Slip(
            "math.ceil(math.max(0, until_ms - now)) + MINUTE_MS)",
            "MINUTE_MS)",
            TENANT,
            "tokens beyond a minute are forgotten after a minute",
        ),
    ),
    "lua/include/budget/afford.lua": (
        Slip(
            "if cost > 0 and b.taken + cost > b.amount then",
            "if cost > 0 and b.taken + cost >= b.amount then",
            BUDGET,
            "the last cent of a budget cannot be spent",
        ),
        Slip(
            "if over < #candidates then return nil end",
            "if over == 0 then return nil end",
            BUDGET,
            "one candidate that is too dear refuses a request that another one could take",
        ),
    ),
    "lua/include/budget/reservation.lua": (
        Slip(
            "if reservation_end(global_key, token, cost) or not known then return end",
            "reservation_end(global_key, token, cost)\n  if not known then return end",
            BUDGET,
            "each call is charged twice",
        ),
        Slip(
            "cost < 0 and tonumber(estimate) or cost",
            "cost",
            BUDGET,
            "a call whose cost is unknown gives money back",
        ),
    ),
}
