"""The shared state as tests see it: a domain of its own for each test, a clock that moves only when told, and a cluster
of replicas to talk to in sentences.

Only `lua/` decides here: the driver packs arguments by the scripts' headers and reads replies with the product's
own `replies`, without batcher or event loop between a test and a script.
"""

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from shared_state.calls import replies, view_replies
from shared_state.calls.decision_calls import restriction_of, scopes_of
from shared_state.calls.reply_values import as_number
from shared_state.calls.script_calls import router_json
from shared_state.keys import Keys
from shared_state.money import Spending
from shared_state.policies import (
    UNLIMITED,
    AutoscalePolicy,
    Configuration,
    DeploymentPolicy,
    RouterPolicy,
    TenantLimits,
)
from shared_state.records import Ask, Heartbeat, Outcome, Permit, Rejection, Settlement
from shared_state.scripts import Script, assemble_all
from shared_state.snapshots import DomainSnapshot, Event, Explanation, ReplicaSnapshot, ScalingSignal
from tests.support.stores import RedisCli, fresh_domain

START_MS = 1_700_000_000_000  # the begin of a slice of the window
DEAD_AFTER_MS = 5000
KEPT_MS = 250  # as in lua/include/store/kept.lua
CLOCK = """
local function clock_ms(global_key)
  return tonumber(redis.call('HGET', global_key, 'test_clock_ms'))
end
"""

Strings = dict[str, str]
Names = list[bytes]
Candidate = str | tuple[str, int]


def router_policy(**changed: Any) -> RouterPolicy:
    """The defaults of the product, but for what is named."""
    policy = RouterPolicy(
        breaker_enabled=True,
        last_resort=True,
        failure_threshold=5,
        min_calls=20,
        failure_rate=0.5,
        slow_limit=3,
        slow_rate=0.5,
        max_cooldown_ms=300_000,
        probes=3,
        probe_successes=2,
        slow_start_ms=30_000,
        trip_memory_ms=60_000,
        load_weight=0.3,
        latency_weight=0.4,
        error_weight=0.3,
        min_health=40,
        fallback_advantage=1.25,
        max_active=1000,
        critical_reserve=0.2,
        min_healthy_ratio=0.5,
        max_failure_rate=0.10,
        retry_ratio=0.2,
        retry_floor_per_second=3,
    )
    return msgspec.structs.replace(policy, **changed)


def deployment_policy(name: str, **changed: Any) -> DeploymentPolicy:
    """The defaults of the product: a time-out of 60 s and its margin make the lease."""
    policy = DeploymentPolicy(
        id=name,
        lease_ms=75_000,
        latency_threshold_ms=2000,
        token_allowance_ms=50,
        cooldown_ms=30_000,
        limit=200,
        priority=50,
        weight=1.0,
        price=0.0,
        concurrency="fixed",
    )
    return msgspec.structs.replace(policy, **changed)


def virtual_scripts() -> dict[str, Script]:
    return assemble_all(replaced={"store/clock": CLOCK})


class Cluster:
    """Replicas of one domain, each call naming the one that makes it. Time stands still between calls."""

    def __init__(self, cli: RedisCli, scripts: Mapping[str, Script]) -> None:
        self.cli = cli
        self.keys = Keys(fresh_domain())
        self.ids: list[str] = []
        self._scripts = scripts
        self._random = random.Random(1)
        self._tokens = itertools.count(1)
        self._version = 0
        self._behind_ms = 0
        self.set_clock(START_MS)

    # -- time -----------------------------------------------------------------------------------------------

    def set_clock(self, at_ms: int) -> None:
        """Any time, also an earlier one."""
        self._clock_ms = at_ms
        self.cli.do("HSET", self.keys.domain, "test_clock_ms", at_ms)

    def step_back(self, ms: int) -> None:
        """The store's clock is set back; time itself, as the domain has it, goes on."""
        self._behind_ms += ms
        self.set_clock(self._clock_ms - ms)

    def advance(self, ms: int) -> None:
        self.set_clock(self._clock_ms + ms)

    @property
    def version(self) -> int:
        """Of the newest configuration."""
        return self._version

    @property
    def behind_ms(self) -> int:
        return self._behind_ms

    @property
    def now_ms(self) -> int:
        return self._clock_ms + self._behind_ms

    # -- configuration --------------------------------------------------------------------------------------

    def configure(self, *deployments: str | DeploymentPolicy, version: int | None = None, **router: Any) -> list[bool]:
        """Ids stand for default policies, ``router`` for what differs from the default. Returns which were applied. No
        last resort unless it is named: most tests are about what a breaker refuses.
        """
        router = {"last_resort": False} | router
        fingerprint = router.pop("fingerprint", "")
        self._version = self._version + 1 if version is None else version
        policies = [deployment_policy(d) if isinstance(d, str) else d for d in deployments]
        self.ids += [policy.id for policy in policies if policy.id not in self.ids]
        text = router_json(Configuration(self._version, router_policy(**router), (), fingerprint=fingerprint))
        return [self._configure_one(policy, text) for policy in policies]

    def _configure_one(self, policy: DeploymentPolicy, router: bytes) -> bool:
        fields: list[Any] = []
        for name, value in msgspec.structs.asdict(policy).items():
            if name not in ("id", "model"):
                fields += [name, "" if value is None else str(value)]
        names = [self.keys.domain, self.keys.policy, self.keys.events, self.keys.deployment(policy.id)]
        return bool(self.run("configure", names, ["epoch-1", self._version, router, *fields])[0])

    # -- the hot path ---------------------------------------------------------------------------------------

    def acquire(
        self,
        *candidates: Candidate,
        replica: str = "r1",
        strategy: str = "adaptive",
        priority: int = 50,
        stream: bool = False,
        attempt: int = 1,
        token: str | None = None,
        resend: int = False,
        era: int = 1,
        seed: int | None = None,
        tokens: int = 0,
        tenant: TenantLimits = UNLIMITED,
        waiting: int = 0,
        traced: bool = False,
        spending: Spending | None = None,
        region: str = "",
        kind: str = "",
        has_more: bool = False,
        only: tuple[str, ...] = (),
        owned: tuple[str, ...] = (),
        session: str = "",
    ) -> Permit | Rejection:
        """Candidates as ids (tier 0) or (id, tier); ``has_more``: others follow in another domain."""
        ids, tiers = self._chain(candidates)
        tiers += "+" * has_more
        if token is None:
            token = f"{replica}.{'stream' if stream else 'plain'}.{next(self._tokens)}"
            token += f" {tenant.name}" if tenant.name else ""
        limits = [limit or 0 for limit in (tenant.rpm, tenant.tpm, tenant.max_parallel)]
        names = [self.keys.domain, self.keys.policy, self.keys.leases, self.keys.window, self.keys.events]
        arguments = [strategy, tiers, "epoch-1", token, priority, self._seed(seed), attempt, tokens]
        ask = Ask(priority, stream, attempt, tokens, tenant, waiting, traced, spending, kind, only, owned)
        ask = msgspec.structs.replace(ask, session=tuple(session.encode().split()))
        arguments += [*limits, tenant.weight, int(waiting), int(traced), _budgets(spending), kind, restriction_of(ask)]
        arguments += [session, int(resend), era]
        reply = self.run("acquire", names + self._candidate_keys(ids) + self._region_key(region), arguments)
        return replies.acquired(reply, token, ask, ids)

    def remember(self, deployment_id: str, *owned: str, ttl_ms: int = 60_000, most: int = 1000) -> tuple[int, int]:
        """Returns the part that the digests were written to, and how many are in it."""
        names = [self.keys.domain, self.keys.owners]
        reply = self.run("remember", names, [deployment_id, ttl_ms, most, "secret", *owned])
        return as_number(reply[0]), as_number(reply[1])

    def granted(self, *candidates: Candidate, **options: Any) -> Permit:
        decision = self.acquire(*candidates, **options)
        assert isinstance(decision, Permit), decision
        return decision

    def rejected(self, *candidates: Candidate, **options: Any) -> Rejection:
        decision = self.acquire(*candidates, **options)
        assert isinstance(decision, Rejection), decision
        return decision

    def settle(
        self,
        permit: Permit,
        outcome: str = "success",
        *,
        latency_ms: int = 100,
        output_tokens: int = 0,
        retry_after_ms: int = 0,
        final: bool = True,
        seed: int | None = None,
        tokens: int = -1,
        cost: int = -1,
        reason: str = "",
        learned: str = "",
    ) -> Settlement:
        fields = (outcome, latency_ms, output_tokens, retry_after_ms, final, seed, tokens, cost, reason, learned)
        return replies.settled(self.cli.do(*self.settling(permit, *fields)))

    def settling(
        self,
        permit: Permit,
        outcome: str = "success",
        latency_ms: int = 100,
        output_tokens: int = 0,
        retry_after_ms: int = 0,
        final: bool = True,
        seed: int | None = None,
        tokens: int = -1,
        cost: int = -1,
        reason: str = "",
        learned: str = "",
    ) -> tuple[Any, ...]:
        """The command of a settle."""
        keys = self.keys
        names = [keys.domain, keys.policy, keys.leases, keys.window, keys.events, *keys.candidate(permit.deployment_id)]
        call = [Outcome(outcome).value, permit.generation, int(permit.is_probe), latency_ms, int(permit.is_stream)]
        rest: list[Any] = [output_tokens, retry_after_ms, int(final), self._seed(seed)]
        rest += [permit.ask.tokens, tokens, permit.ask.tenant.tpm or 0]
        rest.append(f"{cost} {permit.reserved} {scopes_of(permit)}" if permit.reserved else "")
        rest += [permit.ask.kind, reason, learned]
        return (*self.head("settle"), len(names), *names, "epoch-1", permit.token, *call, *rest)

    def content(self, permit: Permit, latency_ms: int = 100) -> Settlement:
        """The first content of a probe that is a stream."""
        keys = self.keys
        names = [keys.domain, keys.policy, keys.events, *keys.candidate(permit.deployment_id)]
        arguments = ["epoch-1", permit.token, permit.generation, latency_ms, self._seed(None)]
        return replies.settled(self.run("content", names, arguments))

    def call(
        self,
        deployment_id: str,
        outcome: str = "success",
        *,
        times: int = 1,
        spare: str = "",
        stream: bool = False,
        **ending: Any,
    ) -> None:
        """Whole calls, one after the other, none of which takes any of the clock's time. ``spare``: a fallback."""
        chain: list[Candidate] = [deployment_id, (spare, 1)] if spare else [deployment_id]
        for _ in range(times):
            self.settle(self.granted(*chain, priority=0, stream=stream), outcome, **ending)

    def relieve(self, deployment_id: str, spare: str = "spare") -> None:
        """A decision that has a fallback, so that slowness may open the breaker."""
        self.settle(self.granted(deployment_id, (spare, 1), priority=0), "cancelled")

    # -- the life of a breaker ------------------------------------------------------------------------------

    def trip(self, deployment_id: str) -> None:
        """Closed or half open becomes open."""
        while self.state(deployment_id) != "open":
            self.call(deployment_id, "failure")

    def cool_down(self, deployment_id: str) -> None:
        """Time passes until the open breaker lets a probe through."""
        self.set_clock(int(self.deployment(deployment_id)["open_until_ms"]) - self._behind_ms)

    def recover(self, deployment_id: str) -> None:
        """Open becomes closed."""
        self.cool_down(deployment_id)
        self.call(deployment_id, times=2)

    # -- replicas and operators -----------------------------------------------------------------------------

    def beat(
        self,
        replica: str = "r1",
        answered: tuple[Permit, ...] = (),
        *,
        draining: bool = False,
        gone: bool = False,
        store: str = "shared",
        fingerprint: str = "",
    ) -> Heartbeat:
        keys = self.keys
        names = [keys.domain, keys.policy, keys.leases, keys.window, keys.events, keys.replicas, keys.replica(replica)]
        for deployment_id in self.ids:
            names += [keys.deployment(deployment_id), keys.deployment_leases(deployment_id)]
        arguments: list[Any] = ["epoch-1", replica, "127.0.0.1:8080", "0.1.0", START_MS]
        arguments += [
            "gone" if gone else int(draining),
            DEAD_AFTER_MS,
            self._seed(None),
            store,
            "why",
            ",".join(self.ids),
            fingerprint,
            "secret",
        ]
        for permit in answered:
            arguments += [self.ids.index(permit.deployment_id) + 1, permit.token]
        return replies.beaten(self.run("beat", names, arguments))

    def autoscale(
        self,
        policy: AutoscalePolicy,
        replica: str = "r1",
        *,
        waiting: int = 0,
        elsewhere: int | None = None,
        version: int = 1,
    ) -> ScalingSignal | None:
        keys = self.keys
        names = [
            keys.domain,
            keys.leases,
            keys.events,
            keys.replicas,
            keys.replica(replica),
            keys.autoscale,
            keys.autoscale_week,
        ]
        names += [keys.deployment(deployment_id) for deployment_id in self.ids]
        settings = [version, policy.target_concurrency, policy.utilization, policy.min_replicas, policy.max_replicas]
        arguments = [waiting, DEAD_AFTER_MS, *settings, policy.scale_down_delay_ms, policy.ahead_ms]
        arguments += [] if elsewhere is None else [elsewhere]
        return view_replies.autoscaled(self.run("autoscale", names, arguments))

    def reap_chunk(
        self,
        dead: str,
        deployment_id: str,
        *,
        offset: int = 0,
        chunk: int = 500,
        last: bool = True,
        own_before_ms: int = 0,
    ) -> tuple[int, int]:
        """Leases removed, and where to go on (-1: done)."""
        names = [self.keys.domain, self.keys.leases, self.keys.replicas, self.keys.replica(dead)]
        names += [self.keys.deployment(deployment_id), self.keys.deployment_leases(deployment_id), self.keys.events]
        arguments = ["epoch-1", dead, DEAD_AFTER_MS, offset, chunk, int(last), own_before_ms]
        return replies.reaped(self.run("reap", names, arguments))[:2]

    def reassert(
        self,
        deployment_id: str,
        leases: Iterable[Permit] = (),
        *,
        age_ms: int = 0,
        answered: bool = False,
        seen_epoch: str = "epoch-1",
        seen_generation: int = 0,
        state: str = "closed",
        generation: int = 0,
        remaining_ms: int = 0,
        trips: int = 0,
        reason: str = "",
        own: bool = False,
        cool_ms: int = 0,
        used_ms: int = 0,
        era: int = 1,
    ) -> tuple[int, bool]:
        """Leases taken, and whether the breaker was."""
        keys = self.keys
        names = [keys.domain, keys.leases, keys.events, *keys.candidate(deployment_id)[:2]]
        arguments: list[Any] = ["epoch-1", seen_epoch, seen_generation, state, generation, remaining_ms, trips, reason]
        arguments += [int(own), cool_ms, used_ms]
        for permit in leases:
            arguments += [permit.token, age_ms, int(permit.is_probe), int(answered)]
        arguments.append(era)
        reply = self.run("reassert", names, arguments)
        return replies.reasserted(reply), reply[1] == 1

    def flush(self) -> None:
        """The store forgets everything but the time."""
        for key in self.cli.do("KEYS", f"{self.keys.prefix}*"):
            self.cli.do("DEL", key)
        self._behind_ms = 0
        self.set_clock(self._clock_ms)

    def force(
        self, deployment_id: str, action: str, *, reason: str = "test", ttl_ms: int = 0, token: str | None = None
    ) -> bool:
        keys = self.keys
        names = [keys.domain, keys.events, keys.deployment(deployment_id), keys.deployment_window(deployment_id)]
        token = token or f"f{next(self._tokens)}"
        return bool(self.run("force", names, ["epoch-1", action, "ann", reason, ttl_ms, token])[0] == b"ok")

    def claim_check(self, deployment_id: str, interval_ms: int = 10_000) -> int | None:
        """The generation to check, or None."""
        is_claimed, generation = replies.checked(self._health_check(deployment_id, ["claim", interval_ms]))
        return generation if is_claimed else None

    def report_check(self, deployment_id: str, generation: int, status: int = 200, *, healthy: bool = True) -> bool:
        """Whether the cooldown ended."""
        reply = self._health_check(deployment_id, ["report", generation, status, int(healthy)])
        return replies.checked(reply)[0]

    def _health_check(self, deployment_id: str, arguments: list[Any]) -> list[object]:
        names = [self.keys.domain, self.keys.events, self.keys.deployment(deployment_id)]
        return self.run("health_check", names, arguments)

    def report_round_trips(self, region: str, **measured: float) -> None:
        """In ms, by deployment."""
        arguments: list[Any] = [600_000]
        for name, rtt_ms in measured.items():
            arguments += [name, rtt_ms]
        self.run("round_trips", self._region_key(region), arguments)

    # -- reading --------------------------------------------------------------------------------------------

    def snapshot(self, *, read_only: bool = False, detail: int = 0, region: str = "") -> DomainSnapshot:
        """Read only: by a command that ends with an error at the first write."""
        keys = self.keys
        names = [keys.domain, keys.policy, keys.leases, keys.window, keys.replicas, *self._candidate_keys(self.ids)]
        reply = self.run("snapshot", names + self._region_key(region), [DEAD_AFTER_MS, detail], read_only=read_only)
        return view_replies.snapshot([reply], [tuple(self.ids)])

    def account(self, scope: str = "domain") -> Strings:
        """A budget as it is stored."""
        return self._hash(f"{self.keys.prefix}budget:{scope}".encode())

    def recount(self, *items: tuple[str, str, str, int], told: str = "") -> list[object]:
        names = [self.keys.domain, self.keys.leases, self.keys.events]
        return self.run("recount", names, [told, *(word for item in items for word in item)])

    def stored_events(self, direction: str, event_id: str = "", most: int = 100) -> list[Event]:
        reply = self.run("events", [self.keys.events], [direction, event_id, most], read_only=True)
        return view_replies.events(reply)

    def roster(self, most: int = 100) -> list[ReplicaSnapshot]:
        reply = self.run("roster", [self.keys.domain, self.keys.replicas], [most], read_only=True)
        return view_replies.roster(reply)

    def explain(
        self,
        *candidates: Candidate,
        strategy: str = "adaptive",
        priority: int = 50,
        seed: int | None = None,
        read_only: bool = False,
        region: str = "",
        tenant: str = "",
        spending: Spending | None = None,
        kind: str = "",
        only: tuple[str, ...] = (),
        owned: tuple[str, ...] = (),
        session: str = "",
    ) -> Explanation:
        ids, names, arguments = self._explain_call(candidates, strategy)
        names += self._region_key(region)
        arguments += [priority, self._seed(seed), tenant, _budgets(spending), kind]
        arguments += [restriction_of(Ask(only=only, owned=owned)), session]
        return view_replies.explained(self.run("explain", names, arguments, read_only=read_only), ids)

    def draws(self, *candidates: Candidate, strategy: str = "adaptive", times: int, region: str = "") -> Counter[str]:
        """Whom so many requests of different seeds would get as things stand."""
        ids, names, arguments = self._explain_call(candidates, strategy)
        names += self._region_key(region)
        head = (*self.head("explain"), len(names), *names, *arguments)
        drawn = self.cli.do_all((*head, 0, self._seed(None), "", "", "", "", "") for _ in range(times))
        return Counter(view_replies.explained(reply, ids).picked or "none" for reply in drawn)

    def deployment(self, deployment_id: str) -> Strings:
        return self._hash(self.keys.deployment(deployment_id))

    def domain(self) -> Strings:
        return self._hash(self.keys.domain)

    def pins(self, parity: int) -> Strings:
        """One of the two hashes of pins as it is stored."""
        return self._hash(f"{self.keys.prefix}affinity:{parity}".encode())

    def state(self, deployment_id: str) -> str:
        return self.deployment(deployment_id)["state"]

    def active(self, deployment_id: str) -> int:
        return int(self.cli.do("ZCARD", self.keys.deployment_leases(deployment_id)))

    def events(self, subject: str | None = None) -> list[Strings]:
        """Oldest first; configuration is not among them."""
        events = [_decoded(fields) for _, fields in self.cli.do("XRANGE", self.keys.events, "-", "+")]
        return [e for e in events if e["reason"] != "configured" and subject in (None, e["subject"])]

    def dump(self) -> dict[str, bytes]:
        """Every key of the domain with all that it holds."""
        return {key.decode(): self.cli.do("DUMP", key) for key in self.cli.do("KEYS", f"{self.keys.prefix}*")}

    # -- the wire -------------------------------------------------------------------------------------------

    def head(self, script: str, read_only: bool = False) -> tuple[str, str]:
        """The first two words of a call."""
        return self.cli.head(self._scripts[script], read_only)

    def run(self, script: str, names: Names, arguments: list[Any], *, read_only: bool = False) -> list[object]:
        reply = self.cli.do(*self.head(script, read_only), len(names), *names, *arguments)
        assert isinstance(reply, list), reply
        return reply

    def _hash(self, key: bytes) -> Strings:
        return _decoded(self.cli.do("HGETALL", key))

    def _seed(self, seed: int | None) -> int:
        return self._random.getrandbits(31) if seed is None else seed

    def _explain_call(
        self, candidates: tuple[Candidate, ...], strategy: str
    ) -> tuple[tuple[str, ...], Names, list[Any]]:
        ids, tiers = self._chain(candidates)
        return (
            ids,
            [self.keys.domain, self.keys.policy, self.keys.leases, *self._candidate_keys(ids)],
            [strategy, tiers],
        )

    def _chain(self, candidates: tuple[Candidate, ...]) -> tuple[tuple[str, ...], str]:
        pairs = [(c, 0) if isinstance(c, str) else c for c in candidates]
        return tuple(name for name, _ in pairs), ",".join(str(tier) for _, tier in pairs)

    def _region_key(self, region: str) -> Names:
        return [self.keys.round_trips(region)] if region else []

    def _candidate_keys(self, ids: tuple[str, ...] | list[str]) -> Names:
        return [key for name in ids for key in self.keys.candidate(name)]


def _budgets(spending: Spending | None) -> str:
    if spending is None:
        return ""
    budgets = [f"{each.amount} {each.per}" if each else "- -" for each in (spending.domain, spending.tenant)]
    return " ".join([*budgets, *map(str, spending.costs)])


def _decoded(fields: dict[bytes, bytes]) -> Strings:
    return {name.decode(): value.decode() for name, value in fields.items()}
