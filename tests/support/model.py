"""What a domain does, written a second time and from the formulas alone, to compare the scripts with: its sequence, its
deployments and the choice between them, versions, replicas. No store, no clock: it is told when and what, and says what
the reply must be.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

from tests.support.deployment_model import (
    FAILED,
    MINUTE_MS,
    RESORT_EVERY_MS,
    WAIT_MS,
    Deployment,
    Lease,
    Router,
    Rules,
    Until,
)
from tests.support.group_model import Group
from tests.support.pin_model import Grant, InForce, Pins

NO_TOKENS = (*FAILED, "throttled", "unsupported")  # that an attempt has used, where its provider does not say
FORCED = {"open": "forced_open", "disable": "disabled", "drain": "disabled", "close": "closed", "reset": "closed"}
DEAD_AFTER_MS, GRANTED_MS, LEARNING_MS, SWEEP_EVERY_MS = 5_000, 2_000, 5_000, 900


@dataclasses.dataclass(frozen=True)
class Refusal:
    code: str
    retry_after_ms: int
    verdicts: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Choice:
    """The deployments one of which the request gets. ``grants``: by each of them, what that does to pins."""

    names: set[str]
    is_last_resort: bool = False
    grants: dict[str, set[Grant]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Minute:
    """Whose tokens a request takes, how many it is estimated to take, and how many the tenant has per minute."""

    tenant: str
    tokens: int
    limit: int

    def ms(self, tokens: int) -> float:
        return tokens * MINUTE_MS / self.limit


@dataclasses.dataclass
class Domain:
    """Each call takes the next number and returns what its reply must say. ``minutes``: until when the tokens of each
    tenant are used up.
    """

    router: Router
    sequence: int = 0
    now_ms: int = 0
    version: int = 0
    learning_until_ms: int = 0
    swept_ms: int = 0
    deployments: dict[str, Deployment] = dataclasses.field(default_factory=dict)
    beats: dict[str, int] = dataclasses.field(default_factory=dict)
    minutes: dict[str, float] = dataclasses.field(default_factory=dict)
    groups: dict[str, Group] = dataclasses.field(default_factory=dict)
    pins: Pins | None = None

    def advance(self, now_ms: int) -> None:
        assert now_ms >= self.now_ms, "the clock runs back"
        if self.sequence == 0:
            self.learning_until_ms = now_ms + LEARNING_MS
        self.sequence, self.now_ms = self.sequence + 1, now_ms

    def active(self, now_ms: int) -> int:
        return sum(deployment.active(now_ms) for deployment in self.deployments.values())

    def configure(self, name: str, rules: Rules, version: int, now_ms: int) -> bool:
        """An older version than that of the policies writes nothing; what was learned stays."""
        if version < self.version:
            return False
        self.advance(now_ms)
        self.version = version
        deployment = self.deployments.setdefault(name, Deployment(self.router, rules, 0))
        if version == deployment.version:
            return False
        deployment.rules, deployment.version = rules, version
        deployment.unsupported.clear()
        deployment.unsupported_for.clear()
        deployment.missing.clear()
        return True

    def resent(self, ids: Sequence[str], token: str, now_ms: int) -> tuple[str, Lease] | None:
        """What this token holds already."""
        for name in ids:
            if lease := self.deployments[name].live(now_ms).get(token):
                self.advance(now_ms)
                return name, lease
        return None

    def acquire(
        self,
        tiers: Sequence[Sequence[str]],
        strategy: str,
        now_ms: int,
        until: Callable[[str], Until],
        kind: str = "",
        minute: Minute | None = None,
        is_first: bool = True,
        pins: InForce = (),
    ) -> Refusal | Choice:
        """No, or the deployments one of which the request gets. A further attempt belongs to a request that is in.
        ``pins``: those of the request.
        """
        self.advance(now_ms)
        if is_first and self.active(now_ms) >= self.router.max_active:
            return Refusal("shed", WAIT_MS)
        if is_first and minute and (early_ms := self.used_up(minute, now_ms) - MINUTE_MS - now_ms) > 0:
            return Refusal("limited", math.ceil(early_ms))
        names = [name for tier in tiers for name in tier]
        overdue = {name for name in names if self.is_overdue(name, kind, now_ms)}
        for name in overdue:
            self.deployments[name].open(now_ms, until(name))
        verdicts = {name: self.deployments[name].verdict(now_ms, kind) for name in names}
        if is_first:
            self.note_relief(tiers, {name for name in names if self.is_able(name, verdicts[name][0])}, now_ms)
        self.avoid(verdicts, now_ms)
        able = {name: verdict for name, (verdict, _) in verdicts.items()}
        choice = self.choice(tiers, able, strategy, now_ms, pins, is_first)
        choice = choice or self.last_resort(tiers, verdicts, overdue, now_ms)
        if choice:
            if minute:
                self.minutes[minute.tenant] = self.used_up(minute, now_ms)
            if choice.is_last_resort:
                self.note_resort(choice.names, now_ms)
            return choice
        waits = [wait_ms for verdict, wait_ms in verdicts.values() if verdict != "unsupported"]
        wait_ms = min(waits or [wait_ms for _, wait_ms in verdicts.values()])
        return Refusal("none", max(1, math.ceil(wait_ms)), tuple(verdict for verdict, _ in verdicts.values()))

    def avoid(self, verdicts: dict[str, tuple[str, float]], now_ms: int) -> None:
        """Sets the suspects aside that cannot be probed now, if another candidate is eligible."""
        able = [name for name, (verdict, _) in verdicts.items() if verdict == "eligible"]
        held = {name: wait_ms for name in able if (wait_ms := self.suspicion(name, now_ms))}
        if len(held) < len(able):
            verdicts |= {name: ("suspect", wait_ms) for name, wait_ms in held.items()}

    def suspicion(self, name: str, now_ms: int) -> int | None:
        deployment = self.deployments[name]
        group = self.groups.get(deployment.rules.group or "")
        if group is None or deployment.state != "closed":
            return None
        served_ms = max(deployment.served_ms or 0, deployment.changed_ms or 0)
        started_ms = [lease.started_ms for lease in deployment.live(now_ms).values()]
        return group.wait_ms(name, now_ms, deployment.rules.cooldown_ms, served_ms, started_ms)

    def learn(self, deployment: Deployment, name: str, lease: Lease, outcome: str, before: int, now_ms: int) -> None:
        """What an outcome shows of the whole group. ``before``: the generation of the deployment."""
        rules = deployment.rules
        if rules.group is None or rules.group_size is None or lease.generation != before:
            return
        group = self.groups.setdefault(rules.group, Group(rules.group_size, self.router.failures))
        if outcome in FAILED:
            has_opened = deployment.generation != before and deployment.state == "open" and not deployment.is_slow
            group.fail(name, now_ms, rules.cooldown_ms, has_opened)
        elif outcome == "success":
            group.succeed(name, now_ms, lease.started_ms)

    def is_overdue(self, name: str, kind: str, now_ms: int) -> bool:
        return self.deployments[name].is_overdue(now_ms) and not self.deployments[name].lacks(kind, now_ms)

    def last_resort(
        self,
        tiers: Sequence[Sequence[str]],
        verdicts: dict[str, tuple[str, float]],
        overdue: set[str],
        now_ms: int,
    ) -> Choice | None:
        """Where no candidate is eligible. Changes the verdicts: one that has no room may be waited for."""
        if not self.router.last_resort or "eligible" in {verdict for verdict, _ in verdicts.values()}:
            return None
        refused = [name for name, (verdict, _) in verdicts.items() if verdict in ("open", "probing")]
        refused = [name for name in refused if name not in overdue]
        able: set[str] = set()
        for name in filter(lambda each: self.deployments[each].serves_as_last_resort(), refused):
            room = self.deployments[name].room(self.deployments[name].half_limit, now_ms)
            if room[0] == "eligible":
                able.add(name)
            else:
                verdicts[name] = room
        if not able and {"full", "rate_limited"}.isdisjoint(verdict for verdict, _ in verdicts.values()):
            able = self.early_probe(verdicts, [name for name in refused if verdicts[name][0] == "open"], tiers, now_ms)
        names = next((set(tier) & able for tier in tiers if set(tier) & able), None)
        return Choice(names, is_last_resort=True) if names else None

    def early_probe(
        self,
        verdicts: dict[str, tuple[str, float]],
        failing: Sequence[str],
        tiers: Sequence[Sequence[str]],
        now_ms: int,
    ) -> set[str]:
        """One a second for all candidates: to the first tier, there to the one that has had none for longest."""
        rest_ms = max(self.deployments[name].resort_ms for name in verdicts) + RESORT_EVERY_MS - now_ms
        able = []
        for name in failing:
            verdict, room_ms = self.deployments[name].room(self.deployments[name].rules.limit, now_ms)
            wait_ms = max(rest_ms if rest_ms > 0 else RESORT_EVERY_MS, room_ms)
            verdicts[name] = "open", min(verdicts[name][1], wait_ms)
            if verdict == "eligible" and rest_ms <= 0:
                able.append(name)
        for tier in tiers:
            if home := [name for name in tier if name in able]:
                return {min(home, key=lambda name: self.deployments[name].resort_ms)}
        return set()

    def note_resort(self, names: set[str], now_ms: int) -> None:
        """A deployment that serves is not probed."""
        for name in names:
            if not self.deployments[name].serves_as_last_resort():
                self.deployments[name].resort_ms = now_ms

    def is_able(self, name: str, verdict: str) -> bool:
        """Could it take the traffic of another one?"""
        deployment = self.deployments[name]
        return verdict == "eligible" and deployment.state == "closed" and deployment.slow < self.router.slow

    def note_relief(self, tiers: Sequence[Sequence[str]], able: set[str], now_ms: int) -> None:
        for name in tiers[0]:
            self.deployments[name].note_relief(bool(able - {name}), now_ms)

    def used_up(self, minute: Minute, now_ms: int) -> float:
        """With one more request."""
        return max(now_ms, self.minutes.get(minute.tenant, 0)) + minute.ms(min(minute.tokens, minute.limit))

    def choice(
        self,
        tiers: Sequence[Sequence[str]],
        verdicts: dict[str, str],
        strategy: str,
        now_ms: int,
        pins: InForce = (),
        is_first: bool = True,
    ) -> Choice | None:
        """Of the first tier that has any; while some of it is in its slow start, of those that take part by chance."""
        groups = [{name for name in tier if verdicts[name] == "eligible"} for tier in tiers]
        groups = [group for group in groups if group]
        if not groups:
            return None
        if self.probing(groups[0]):
            return Choice(self.cheapest(groups[0], strategy, now_ms))
        groups = [groups[0], *filter(None, (group - self.probing(group) for group in groups[1:]))]
        bounds = sorted({0.0, 1.0, *(self.deployments[name].ramp(now_ms) for group in groups for name in group)})
        draws = [(low + high) / 2 for low, high in itertools.pairwise(bounds)]
        pools = [self.taking_part(groups, draw, now_ms) for draw in draws]
        grants: dict[str, set[Grant]] = {}
        for pool in pools:
            preferred, passed = self.preferred(pool, strategy, now_ms, pins)
            for name in {preferred} if preferred else self.cheapest(pool, strategy, now_ms):
                word = self.word(name, pins, passed, verdicts, is_first, now_ms)
                grants.setdefault(name, set()).add(Grant(word, frozenset(passed)))
        return Choice(set(grants), grants=grants)

    def preferred(
        self, pool: set[str], strategy: str, now_ms: int, pins: InForce
    ) -> tuple[str | None, dict[str, str | None]]:
        """The first pinned deployment that is near enough to the least loaded one, and why those before it are not:
        None where a deployment does not take part.
        """
        passed: dict[str, str | None] = {}
        for pin in pins:
            name = pin.home
            if name is None:
                continue
            why = self.against(name, pool, strategy, now_ms) if name in pool else None
            if name in pool and why is None:
                return name, passed
            passed[pin.name] = why
        return None, passed

    def against(self, name: str, pool: set[str], strategy: str, now_ms: int) -> str | None:
        assert self.pins
        mine = self.deployments[name]
        loads = [d.active(now_ms) / d.rules.limit for d in map(self.deployments.get, pool) if d and d.ramp(now_ms) == 1]
        if strategy == "priority" and mine.rules.priority < max(self.deployments[each].rules.priority for each in pool):
            return "strategy"
        most = min(loads, default=math.inf) + self.pins.band * mine.cache_hit
        return "load" if mine.active(now_ms) / mine.rules.limit > most else None

    def word(
        self,
        name: str,
        pins: InForce,
        passed: dict[str, str | None],
        verdicts: dict[str, str],
        is_first: bool,
        now_ms: int,
    ) -> str:
        pin = next((pin for pin in pins if pin.home), None)
        if pin is None or pin.home is None:
            return "new"
        home = pin.home
        if home == name:
            return "pinned"
        if home not in verdicts:
            return "moved(gone)" if is_first else "moved(failed)"
        is_recovering = self.deployments[home].ramp(now_ms) < 1
        absent = verdicts[home] if verdicts[home] != "eligible" else "recovering" if is_recovering else "tier"
        return f"moved({passed[pin.name] or absent})"

    def taking_part(self, groups: Sequence[set[str]], draw: float, now_ms: int) -> set[str]:
        """The slow start: each deployment takes part while its ramp is above the draw. Where none does, the group that
        has come furthest.
        """
        if all(self.deployments[name].ramp(now_ms) == 1 for name in groups[0]):
            return groups[0]
        ready = ({name for name in group if self.deployments[name].ramp(now_ms) > draw} for group in groups)
        furthest = max(groups, key=lambda group: max(self.deployments[name].ramp(now_ms) for name in group))
        return next(filter(None, ready), furthest)

    def probing(self, home: set[str]) -> set[str]:
        return {name for name in home if self.deployments[name].state != "closed"}

    def cheapest(self, home: set[str], strategy: str, now_ms: int) -> set[str]:
        """A probe goes first, or a breaker never recovers. Drawn by lot: anyone; else the cheapest, and its equals."""
        if probing := self.probing(home):
            return probing
        if strategy == "adaptive":
            return home
        costs = {}
        for name in home:
            deployment = self.deployments[name]
            first = {"priority": -deployment.rules.priority, "usage-based": -deployment.headroom(now_ms)}
            costs[name] = (first.get(strategy, 0), deployment.busy(now_ms))
        return {name for name in home if costs[name] == min(costs.values())}

    def settle(
        self,
        name: str,
        token: str,
        outcome: str,
        now_ms: int,
        until: Until,
        is_slow: bool = False,
        retry_after_ms: int = 0,
        kind: str = "",
        minute: Minute | None = None,
        tokens: int = -1,
    ) -> tuple[bool, str, int]:
        """Known, state, generation. The tenant's minute is corrected by each attempt, the last or not."""
        self.advance(now_ms)
        deployment = self.deployments[name]
        lease = deployment.leases.pop(token, None)
        if lease:
            before = deployment.generation
            deployment.settle(lease, outcome, is_slow, retry_after_ms, now_ms, until, kind)
            self.learn(deployment, name, lease, outcome, before, now_ms)
        if lease and minute:
            estimated = min(minute.tokens, minute.limit)
            used = tokens if tokens >= 0 else 0 if outcome in NO_TOKENS else estimated
            before_ms = max(now_ms, self.minutes.get(minute.tenant, 0))
            self.minutes[minute.tenant] = before_ms + minute.ms(used - estimated)
        return lease is not None, deployment.state, deployment.generation

    def force(self, name: str, action: str, ttl_ms: int, now_ms: int) -> None:
        """Who closes says that the trouble is over; who resets forgets all that was learned."""
        self.advance(now_ms)
        deployment = self.deployments[name]
        if FORCED[action] != "closed":
            deployment.move(FORCED[action], now_ms)
            deployment.ends_ms = now_ms + ttl_ms if ttl_ms else None
            return
        deployment.close(now_ms)
        if deployment.rules.group in self.groups:
            self.groups[deployment.rules.group].forget()
        deployment.trips, deployment.changed_ms = 0, None
        if action == "reset":
            deployment.cool_until_ms, deployment.arrival_ms = 0, 0
            deployment.unsupported.clear()
            deployment.unsupported_for.clear()
            deployment.missing.clear()

    def beat(self, replica: str, now_ms: int) -> tuple[int, int, bool, set[str]]:
        """Active, replicas alive, known, replicas dead. Every so often what has expired is removed."""
        self.advance(now_ms)
        is_known = self.is_alive(replica)
        self.beats[replica] = now_ms
        if now_ms >= self.swept_ms + SWEEP_EVERY_MS:
            self.swept_ms = now_ms
            for deployment in self.deployments.values():
                if deployment.state != "disabled":
                    deployment.leases = deployment.live(now_ms)
                    self.miss_owners(deployment, now_ms)
        self.note_grants()
        alive = {name for name in self.beats if self.is_alive(name)}
        return self.active(now_ms), len(alive), is_known, set(self.beats) - alive

    def miss_owners(self, deployment: Deployment, now_ms: int) -> None:
        """Who holds leases for so long and never beat is dead as well."""
        for token, lease in deployment.leases.items():
            owner = token.split(".")[0]
            if owner not in self.beats and lease.started_ms < now_ms - DEAD_AFTER_MS:
                self.beats[owner] = lease.started_ms

    def note_grants(self) -> None:
        """A silent replica that was granted a lease just now lived then."""
        for name in [name for name in self.beats if not self.is_alive(name)]:
            leases = [
                lease for d in self.deployments.values() for t, lease in d.leases.items() if t.startswith(f"{name}.")
            ]
            granted_ms = max((lease.started_ms for lease in leases), default=0)
            if granted_ms >= self.now_ms - GRANTED_MS:
                self.beats[name] = granted_ms

    def is_alive(self, replica: str) -> bool:
        return replica in self.beats and self.beats[replica] >= self.now_ms - DEAD_AFTER_MS

    def reap(self, replica: str, name: str, is_last: bool, now_ms: int) -> int:
        """Leases removed; one who lives keeps them."""
        if replica in self.beats and self.beats[replica] >= now_ms - DEAD_AFTER_MS:
            return 0
        self.advance(now_ms)
        deployment = self.deployments[name]
        gone = [token for token in deployment.leases if token.startswith(f"{replica}.")]
        for token in gone:
            lease = deployment.leases.pop(token)
            is_current = (deployment.state, deployment.generation) == ("half_open", lease.generation)
            if lease.is_probe and not lease.is_last_resort and is_current:
                deployment.give_back()
        if is_last:
            self.beats.pop(replica, None)
        return len(gone)

    def reassert(
        self,
        name: str,
        leases: dict[str, Lease],
        seen_generation: int,
        is_other_epoch: bool,
        breaker: tuple[str, int, int, int],
        now_ms: int,
    ) -> tuple[int, bool]:
        """Leases taken, breaker moved. ``seen_generation``: what the replica last saw in the store, perhaps in another
        epoch; breaker: state, generation, ms until it ends, trips. News is what the store cannot know.
        """
        self.advance(now_ms)
        deployment, (state, generation, remaining_ms, trips) = self.deployments[name], breaker
        is_news = deployment.generation <= seen_generation
        if is_other_epoch:
            is_news = now_ms < self.learning_until_ms or (is_news and generation > seen_generation)
        is_taken = is_news and deployment.state == "closed" and generation > deployment.generation
        if is_taken:
            deployment.generation = generation - (state != "closed")
            if state != "closed":
                deployment.move(state, now_ms)
                deployment.ends_ms, deployment.trips = now_ms + remaining_ms if remaining_ms else None, trips
        missing = {
            token: lease
            for token, lease in leases.items()
            if token not in deployment.leases and now_ms < lease.started_ms + deployment.rules.lease_ms
        }
        deployment.leases |= missing
        return len(missing), is_taken and state != "closed"
