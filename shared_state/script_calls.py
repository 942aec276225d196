"""What each script is called with: values become packed calls, as in `replies` replies become values. The contract of
KEYS and ARGV is at the head of each script.
"""

import random
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from shared_state.connection.client import pack
from shared_state.keys import DOMAIN, Keys, tenant_scope
from shared_state.ledger import Ledger
from shared_state.memory import Live, View
from shared_state.policies import AutoscalePolicy, Configuration, TenantLimits
from shared_state.records import CALL_KINDS, REASON_MOST, Ask, BlockEnding, Breaker, Ending, Outcome, Permit, Plan
from shared_state.scripts import Script
from shared_state.snapshots import Presence, Stand

DEAD_AFTER_MS = 5000
REAP_CHUNK = 500
TENANTS_KEPT = 10_000  # packed limits
ROUND_TRIPS_KEPT_MS = 600_000  # distances change slowly: a region that restarts need not measure first
FORECAST_GOOD_MS = 180_000  # two ticks may be missed
REPLICAS_SHOWN = 200  # about 1 ms of the store's time
_SEED_BITS = 31
_NO_SPENDING = pack(b"")
_WAITING = tuple((pack(waiting, b"0"), pack(waiting, b"1")) for waiting in (b"0", b"1", b"2"))  # and traced or not
_KINDS = {kind: pack(kind.encode()) for kind in ("", *CALL_KINDS)}
_UNUSED = Ending(Outcome.CANCELLED)

Consent = Literal["hold", "propose", "take", "remind", "answer", "publish", "read", "leave"]
Detail = Literal[0, 1, 2]  # of a snapshot: as the head of the script says


def part(limit: int, replicas: int) -> int:
    """Of a limit, for one of so many replicas that do not know of each other."""
    return max(1, limit // replicas)


def router_json(configuration: Configuration) -> bytes:
    """The router's policy as the store keeps it. What is not set is left out: every decision reads all of it."""
    fields = msgspec.structs.asdict(configuration.router).items()
    given = {name: value for name, value in fields if value is not None}
    named = {"fingerprint": configuration.fingerprint} if configuration.fingerprint else {}
    return msgspec.json.encode(given | named | {"version": configuration.version})


class ScriptCalls:
    """The calls on one domain, by one process. Those of `acquire` and `reassert` go out with one argument more, the
    number of their connection. ``ledger``: of a store that keeps only this replica's part of each budget.
    """

    def __init__(self, scripts: Mapping[str, Script], keys: Keys, ledger: Ledger | None = None) -> None:
        self._scripts = scripts
        self._ledger = ledger
        self._keys = keys
        # A letter first: Lua takes a text that looks like a number for one.
        self._epoch = f"e{secrets.token_hex(8)}".encode()
        self._draw = random.Random(secrets.randbits(64)).getrandbits
        self._settle_prefixes: dict[str, bytes] = {}
        self._tenants: dict[tuple[TenantLimits, int], bytes] = {}

    def plan(
        self, candidates: Sequence[tuple[str, int]], strategy: str, region: str = "", has_more: bool = False
    ) -> Plan:
        """Candidates as (deployment id, tier) in chain order; ``region``: of this replica; ``has_more``: others
        follow, in another domain.
        """
        keys = self._keys
        ids = tuple(deployment_id for deployment_id, _ in candidates)
        tiers = tuple(tier for _, tier in candidates)
        names = [keys.domain, keys.policy, keys.leases, keys.window, keys.events]
        for deployment_id in ids:
            names += keys.candidate(deployment_id)
        if region:
            names.append(keys.round_trips(region))
        chain = ",".join(map(str, tiers)) + "+" * has_more
        static = pack(strategy.encode(), chain.encode(), self._epoch)
        return Plan(ids, tiers, strategy, self._prefix("acquire", 18, *names) + static, region)

    def acquire(self, plan: Plan, token: str, ask: Ask, replicas: int = 1) -> bytes:
        """All but whether it is a resend, and the connection. ``replicas``: so many share the tenant's limits."""
        head = pack(token.encode(), b"%d" % ask.priority, self._seed(), b"%d" % ask.attempt, b"%d" % ask.tokens)
        spending = _NO_SPENDING if ask.spending is None else pack(self._spending(ask, replicas))
        limits, waiting = self._limits(ask.tenant, replicas), _WAITING[ask.waiting][ask.is_traced]
        return plan.prefix + head + limits + waiting + spending + _KINDS[ask.kind]

    def _spending(self, ask: Ask, replicas: int) -> bytes:
        assert ask.spending is not None
        words = []
        for scope, budget in ((DOMAIN, ask.spending.domain), (tenant_scope(ask.tenant.name), ask.spending.tenant)):
            if budget is None:
                words.append("- -")
            else:
                amount = budget.amount if self._ledger is None else self._ledger.part(scope, budget, replicas)
                words.append(f"{amount} {budget.per}")
        return " ".join([*words, *map(str, ask.spending.costs)]).encode()

    def _limits(self, tenant: TenantLimits, replicas: int) -> bytes:
        packed = self._tenants.get((tenant, replicas))
        if packed is None:
            limits = (tenant.rpm, tenant.tpm, tenant.max_parallel)
            packed = pack(*(b"%d" % (0 if limit is None else part(limit, replicas)) for limit in limits))
            packed += pack(str(tenant.weight).encode())
            if len(self._tenants) >= TENANTS_KEPT:
                self._tenants.clear()
            self._tenants[tenant, replicas] = packed
        return packed

    def content(self, permit: Permit, latency_ms: int) -> bytes:
        keys = self._keys
        own, leases, window = keys.candidate(permit.deployment_id)
        prefix = self._prefix("content", 5, keys.domain, keys.policy, keys.events, own, leases, window)
        generation, latency = b"%d" % permit.generation, b"%d" % latency_ms
        return prefix + pack(self._epoch, permit.token.encode(), generation, latency, self._seed())

    def settle(self, permit: Permit, ending: Ending, replicas: int = 1) -> bytes:
        prefix = self._settle_prefixes.get(permit.deployment_id)
        if prefix is None:
            keys = self._keys
            names = (keys.domain, keys.policy, keys.leases, keys.window, keys.events)
            prefix = self._prefix("settle", 17, *names, *keys.candidate(permit.deployment_id)) + pack(self._epoch)
            self._settle_prefixes[permit.deployment_id] = prefix
        return prefix + pack(
            permit.token.encode(),
            ending.outcome.encode(),
            b"%d" % permit.generation,
            b"1" if permit.is_probe else b"0",
            b"%d" % ending.latency_ms,
            b"1" if permit.is_stream else b"0",
            b"%d" % ending.output_tokens,
            b"%d" % ending.retry_after_ms,
            b"1" if ending.is_final else b"0",
            self._seed(),
            b"%d" % permit.ask.tokens,
            b"%d" % ending.tokens,
            b"%d" % (part(permit.ask.tenant.tpm, replicas) if permit.ask.tenant.tpm else 0),
            _charge(permit, ending) if permit.ask.spending else b"",
            permit.ask.kind.encode(),
            reason_of(ending),
        )

    def acquire_block(self, plan: Plan, tokens: Sequence[str], ask: Ask, hold_ms: int) -> tuple[bytes, ...]:
        """Three calls: the first, sent again, and sent again only to learn what was granted; all but the connection."""
        keys = self._keys
        names = [keys.domain, keys.policy, keys.leases, keys.window, keys.events]
        for deployment_id in plan.ids:
            names += keys.candidate(deployment_id)
        if plan.region:
            names.append(keys.round_trips(plan.region))
        head = [plan.strategy.encode(), ",".join(map(str, plan.tiers)).encode(), self._epoch]
        head += [b"%d" % ask.priority, self._seed(), b"%d" % hold_ms]
        tail = [ask.kind.encode(), *(token.encode() for token in tokens)]
        return tuple(
            self._packed("acquire_block", names, [*head, resend, *tail], has_era=True) for resend in (b"0", b"1", b"2")
        )

    def settle_block(self, deployment_id: str, calls: Sequence[BlockEnding]) -> bytes:
        keys = self._keys
        names = (keys.domain, keys.policy, keys.leases, keys.window, keys.events, *keys.candidate(deployment_id))
        arguments = [self._epoch, self._seed()]
        for call in calls:
            ending = call.ending or _UNUSED
            arguments += [
                call.permit.token.encode(),
                ending.outcome.encode() if call.ending else b"unused",
                b"%d" % call.permit.generation,
                b"%d" % ending.latency_ms,
                b"1" if call.permit.is_stream else b"0",
                b"%d" % ending.output_tokens,
                b"%d" % ending.retry_after_ms,
                b"1" if ending.is_final and call.ending else b"0",
                b"%d" % call.age_ms,
                call.permit.ask.kind.encode(),
                reason_of(ending),
            ]
        return self._packed("settle_block", names, arguments)

    def reassert(
        self, deployment_id: str, leases: Sequence[Live], seen: View, now: Breaker | None, is_own: bool, is_same: bool
    ) -> bytes:
        """``is_same``: its rate limit is divided among as many replicas as when it was used."""
        keys = self._keys
        own = (keys.deployment(deployment_id), keys.deployment_leases(deployment_id))
        arguments = self._breaker_arguments(seen, deployment_id, now, is_own)
        arguments += _limit_arguments(now, is_same) + _lease_arguments(leases)
        return self._packed("reassert", (keys.domain, keys.leases, keys.events, *own), arguments, has_era=True)

    def _breaker_arguments(self, seen: View, deployment_id: str, now: Breaker | None, is_own: bool) -> list[bytes]:
        before = seen.breakers.get(deployment_id)
        base = before.generation if before else 0
        state, generation, remaining_ms = "closed", base, 0
        if now is not None:
            state, generation = now.state, max(now.generation, base)
            if state in ("open", "half_open"):
                # A probe may go out at once where its time is over, or where probes were under way.
                state, remaining_ms = "open", max(1, round((now.ends_s - time.monotonic()) * 1000))
            elif now.ends_s:
                remaining_ms = max(1, round((now.ends_s - time.monotonic()) * 1000))
        return [
            *(self._epoch, seen.epoch.encode(), b"%d" % base, state.encode(), b"%d" % generation),
            *(b"%d" % remaining_ms, b"%d" % (now.trips if now else 0), (now.reason if now else "").encode()),
            b"%d" % is_own,
        ]

    def configure(self, configuration: Configuration) -> list[bytes]:
        """One call a deployment; none for a configuration that is not in force."""
        if not configuration.version:
            return []
        keys, calls = self._keys, []
        head = [self._epoch, b"%d" % configuration.version, router_json(configuration)]
        for policy in configuration.deployments:
            arguments = list(head)
            for name, value in msgspec.structs.asdict(policy).items():
                if name not in ("id", "domain", "model"):
                    arguments += (name.encode(), b"" if value is None else str(value).encode())
            names = (keys.domain, keys.policy, keys.events, keys.deployment(policy.id))
            calls.append(self._packed("configure", names, arguments))
        return calls

    def beat(
        self, replica: str, presence: Presence, ids: Sequence[str], answered: Mapping[str, str], fingerprint: str = ""
    ) -> bytes:
        """``answered``: deployments by token, whose first byte has arrived; ``fingerprint``: of this replica's file."""
        keys = self._keys
        names = [keys.domain, keys.policy, keys.leases, keys.window, keys.events, keys.replicas, keys.replica(replica)]
        for deployment_id in ids:
            names += (keys.deployment(deployment_id), keys.deployment_leases(deployment_id))
        positions = {deployment_id: b"%d" % (position + 1) for position, deployment_id in enumerate(ids)}
        arguments = [self._epoch, replica.encode(), presence.address.encode(), presence.version.encode()]
        arguments += [b"%d" % presence.started_at_ms, presence.status.encode(), b"%d" % DEAD_AFTER_MS]
        arguments += [self._seed(), presence.store.encode(), presence.reason[:200].encode(), ",".join(ids).encode()]
        arguments.append(fingerprint.encode())
        for token, deployment_id in answered.items():
            if deployment_id in positions:  # else it is no longer configured, and its last request has just ended
                arguments += (positions[deployment_id], token.encode())
        return self._packed("beat", names, arguments)

    def reap(
        self, replica: str, deployment_id: str, offset: int, is_last: bool, own_before_ms: int, live: Sequence[Live]
    ) -> bytes:
        keys = self._keys
        names = (keys.domain, keys.leases, keys.replicas, keys.replica(replica))
        own = (keys.deployment(deployment_id), keys.deployment_leases(deployment_id), keys.events)
        arguments = [self._epoch, replica.encode(), b"%d" % DEAD_AFTER_MS, b"%d" % offset, b"%d" % REAP_CHUNK]
        arguments += [b"%d" % is_last, b"%d" % own_before_ms, *(each.permit.token.encode() for each in live)]
        return self._packed("reap", (*names, *own), arguments)

    def force(self, deployment_id: str, action: str, actor: str, reason: str, ttl_ms: int) -> bytes:
        keys = self._keys
        names = (keys.domain, keys.events, keys.deployment(deployment_id), keys.deployment_window(deployment_id))
        arguments = [self._epoch, action.encode(), actor.encode(), reason.encode(), b"%d" % ttl_ms]
        # A letter first: Lua takes a text that looks like a number for one.
        arguments.append(f"f{secrets.token_hex(4)}".encode())
        return self._packed("force", names, arguments)

    def tenants(self, *arguments: str) -> bytes:
        keys = self._keys
        encoded = [self._epoch, *(argument.encode() for argument in arguments)]
        return self._packed("tenants", (keys.domain, keys.tenants, keys.events), encoded)

    def forecast(self, ids: Sequence[str]) -> bytes:
        keys = self._keys
        names = [keys.domain, keys.policy]
        for each in ids:
            names += (keys.deployment(each), keys.deployment_window(each), keys.forecast(each), keys.season(each))
        return self._packed("forecast", names, [b"%d" % FORECAST_GOOD_MS])

    def foreseen(self, ids: Sequence[str]) -> bytes:
        names = [self._keys.domain, *(self._keys.forecast(each) for each in ids)]
        return self._packed("foreseen", names, [b"%d" % FORECAST_GOOD_MS])

    def claim_check(self, deployment_id: str, interval_ms: int) -> bytes:
        return self._health_check(deployment_id, b"claim", b"%d" % interval_ms)

    def report_check(self, deployment_id: str, generation: int, status: int, is_healthy: bool) -> bytes:
        return self._health_check(deployment_id, b"report", b"%d" % generation, b"%d" % status, b"%d" % is_healthy)

    def _health_check(self, deployment_id: str, *arguments: bytes) -> bytes:
        names = (self._keys.domain, self._keys.events, self._keys.deployment(deployment_id))
        return self._packed("health_check", names, arguments)

    def reload(self, what: Consent, replica: str, stand: Stand, *more: str) -> bytes:
        keys, known = self._keys, stand.known
        names = (keys.domain, keys.policy, keys.reload, keys.events, keys.replicas, keys.configuration)
        words = [what, replica, str(DEAD_AFTER_MS), stand.digest, stand.fingerprint, str(stand.version)]
        words += [str(stand.registered_ms), str(known.version), known.digest, known.fingerprint]
        words += [str(int(known.is_first)), str(stand.written), *more]
        return self._packed("reload", names, [self._epoch, *(word.encode() for word in words)])

    def round_trips(self, region: str, measured: Mapping[str, float]) -> bytes:
        """In ms, by deployment."""
        arguments = [b"%d" % ROUND_TRIPS_KEPT_MS]
        for deployment_id, rtt_ms in measured.items():
            arguments += (deployment_id.encode(), b"%.2f" % rtt_ms)
        return self._packed("round_trips", [self._keys.round_trips(region)], arguments)

    def snapshot(self, ids: Sequence[str], detail: Detail = 0, region: str = "") -> bytes:
        return self._packed("snapshot", self._keys.snapshot(ids, region), [b"%d" % DEAD_AFTER_MS, b"%d" % detail])

    def budgets(self, scopes: Sequence[str]) -> bytes:
        return self._packed("budgets", [self._keys.domain, *self._keys.scopes(scopes)], [b""])

    def recount(self, told: str, items: Sequence[tuple[str, str, str, int]]) -> bytes:
        """``items``: as the head of the script says."""
        words = [word.encode() for item in items for word in (*item[:3], str(item[3]))]
        keys = self._keys
        return self._packed("recount", [keys.domain, keys.leases, keys.events], [told.encode(), *words])

    def events(self, direction: Literal["newest", "after"], event_id: str, most: int) -> bytes:
        return self._packed("events", [self._keys.events], [direction.encode(), event_id.encode(), b"%d" % most])

    def roster(self) -> bytes:
        return self._packed("roster", [self._keys.domain, self._keys.replicas], [b"%d" % REPLICAS_SHOWN])

    def autoscale(
        self,
        replica: str,
        waiting: int,
        elsewhere: int | None,
        configuration: Configuration,
        policy: AutoscalePolicy,
    ) -> bytes:
        keys = self._keys
        names = [keys.domain, keys.leases, keys.events, keys.replicas, keys.replica(replica), keys.autoscale]
        names += (keys.deployment(deployment.id) for deployment in configuration.deployments)
        arguments = [b"%d" % waiting, b"%d" % DEAD_AFTER_MS, b"%d" % configuration.version]
        arguments += [b"%d" % policy.target_concurrency, b"%g" % policy.utilization, b"%d" % policy.min_replicas]
        arguments += [b"%d" % policy.max_replicas, b"%d" % policy.scale_down_delay_ms]
        arguments += [] if elsewhere is None else [b"%d" % elsewhere]
        return self._packed("autoscale", names, arguments)

    def explain(self, plan: Plan, ask: Ask, replicas: int = 1) -> bytes:
        """``replicas``: as in `acquire`."""
        names = [self._keys.domain, self._keys.policy, self._keys.leases]
        for deployment_id in plan.ids:
            names += self._keys.candidate(deployment_id)
        if plan.region:
            names.append(self._keys.round_trips(plan.region))
        tiers = ",".join(map(str, plan.tiers)).encode()
        arguments = [plan.strategy.encode(), tiers, b"%d" % ask.priority, self._seed(), ask.tenant.name.encode()]
        arguments += [b"" if ask.spending is None else self._spending(ask, replicas), ask.kind.encode()]
        return self._packed("explain", names, arguments)

    def _seed(self) -> bytes:
        return b"%d" % self._draw(_SEED_BITS)

    def _prefix(self, script: str, argument_count: int, *names: bytes) -> bytes:
        head = (b"EVALSHA", self._scripts[script].sha.encode(), b"%d" % len(names), *names)
        return b"*%d\r\n%b" % (len(head) + argument_count, pack(*head))

    def _packed(self, script: str, names: Sequence[bytes], arguments: Sequence[bytes], has_era: bool = False) -> bytes:
        return self._prefix(script, len(arguments) + has_era, *names) + pack(*arguments)


def reason_of(ending: Ending) -> bytes:
    """Whole characters, on one line."""
    return " ".join(ending.reason.split())[:REASON_MOST].encode(errors="replace") if ending.reason else b""


def _charge(permit: Permit, ending: Ending) -> bytes:
    """Nothing where nothing was reserved."""
    if not permit.reserved:
        return b""
    return f"{ending.cost} {permit.reserved} {scopes_of(permit)}".encode()


def scopes_of(permit: Permit) -> str:
    """The budgets that a permit is reserved in, as `reservations` names them."""
    spending = permit.ask.spending
    named = (("domain", spending and spending.domain), ("tenant", spending and spending.tenant))
    return " ".join(name for name, budget in named if budget is not None)


def budgets_of(permit: Permit) -> list[str]:
    """The same as scopes of the ledger."""
    scopes = {"domain": DOMAIN, "tenant": tenant_scope(permit.ask.tenant.name)}
    return [scopes[name] for name in scopes_of(permit).split()]


def _limit_arguments(breaker: Breaker | None, is_same_share: bool) -> list[bytes]:
    """How long it cools, and its rate limit is used up. The latter is of no use where another share was in force."""
    now_s = time.monotonic()
    cool_s = breaker.cools_s - now_s if breaker else 0.0
    used_s = breaker.used_s - now_s if breaker and is_same_share else 0.0
    return [b"%d" % max(0, round(1000 * cool_s)), b"%d" % max(0, round(1000 * used_s))]


def _lease_arguments(leases: Sequence[Live]) -> list[bytes]:
    now_s, arguments = time.monotonic(), []
    for live in leases:
        age_ms = round((now_s - live.granted_s) * 1000)
        arguments += [live.permit.token.encode(), b"%d" % age_ms]
        # A last resort belongs to the open breaker: it is no probe of the half-open one that the store may know.
        is_probe = live.permit.is_probe and not live.permit.is_last_resort
        arguments += [b"%d" % is_probe, b"%d" % live.is_answered]
    return arguments
