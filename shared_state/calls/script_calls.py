"""Packs the calls of all scripts on one domain, the counterpart of `replies`. The head of each script is the contract
of its KEYS and ARGV.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from shared_state.calls.decision_calls import DecisionCalls
from shared_state.memory import Live, View
from shared_state.policies import AutoscalePolicy, Configuration
from shared_state.records import Breaker
from shared_state.snapshots import Presence, Stand

DEAD_AFTER_MS = 5000
REAP_CHUNK = 500
ROUND_TRIPS_KEPT_MS = 600_000  # distances change slowly: a region that restarts need not measure first
REPLICAS_SHOWN = 200  # about 1 ms of the store's time

Consent = Literal["hold", "propose", "take", "remind", "answer", "publish", "read", "leave"]
Detail = Literal[0, 1, 2]  # of a snapshot, as the head of the script describes


def router_json(configuration: Configuration) -> bytes:
    """Returns the router's policy as the store keeps it. Unset fields are left out, because every decision reads the
    whole policy.
    """
    fields = msgspec.structs.asdict(configuration.router).items()
    given = {name: value for name, value in fields if value is not None}
    named = {"fingerprint": configuration.fingerprint} if configuration.fingerprint else {}
    return msgspec.json.encode(given | named | {"version": configuration.version})


class ScriptCalls(DecisionCalls):
    """The calls of one process on one domain. Calls of acquire, acquire_block and reassert get one more argument when
    they are sent: the number of their connection.
    """

    def reassert(
        self, deployment_id: str, leases: Sequence[Live], seen: View, now: Breaker | None, is_own: bool, is_same: bool
    ) -> bytes:
        """Packs live leases and a breaker. ``is_same``: the rate limit is divided among the same number of replicas as
        when it was used.
        """
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
        """Returns one call per deployment; none for a configuration that is not in force."""
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
        """Packs a heartbeat. ``answered``: the deployments of calls whose first byte has arrived, by token;
        ``fingerprint``: of this replica's file.
        """
        keys = self._keys
        names = [keys.domain, keys.policy, keys.leases, keys.window, keys.events, keys.replicas, keys.replica(replica)]
        for deployment_id in ids:
            names += (keys.deployment(deployment_id), keys.deployment_leases(deployment_id))
        positions = {deployment_id: b"%d" % (position + 1) for position, deployment_id in enumerate(ids)}
        arguments = [self._epoch, replica.encode(), presence.address.encode(), presence.version.encode()]
        arguments += [b"%d" % presence.started_at_ms, presence.status.encode(), b"%d" % DEAD_AFTER_MS]
        arguments += [self._seed(), presence.store.encode(), presence.reason[:200].encode(), ",".join(ids).encode()]
        arguments += [fingerprint.encode(), self._secret]
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
        # A letter comes first, because Lua converts text that looks like a number.
        arguments.append(f"f{secrets.token_hex(4)}".encode())
        return self._packed("force", names, arguments)

    def tenants(self, *arguments: str) -> bytes:
        keys = self._keys
        encoded = [self._epoch, *(argument.encode() for argument in arguments)]
        return self._packed("tenants", (keys.domain, keys.tenants, keys.events), encoded)

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
        """Packs round trips in ms, by deployment."""
        arguments = [b"%d" % ROUND_TRIPS_KEPT_MS]
        for deployment_id, rtt_ms in measured.items():
            arguments += (deployment_id.encode(), b"%.2f" % rtt_ms)
        return self._packed("round_trips", [self._keys.round_trips(region)], arguments)

    def snapshot(self, ids: Sequence[str], detail: Detail = 0, region: str = "") -> bytes:
        return self._packed("snapshot", self._keys.snapshot(ids, region), [b"%d" % DEAD_AFTER_MS, b"%d" % detail])

    def budgets(self, scopes: Sequence[str]) -> bytes:
        return self._packed("budgets", [self._keys.domain, *self._keys.scopes(scopes)], [b""])

    def recount(self, nonce: str, items: Sequence[tuple[str, str, str, int]]) -> bytes:
        """Packs changes of budgets. ``items``: as the head of the script describes."""
        words = [word.encode() for item in items for word in (*item[:3], str(item[3]))]
        keys = self._keys
        return self._packed("recount", [keys.domain, keys.leases, keys.events], [nonce.encode(), *words])

    def usage_add(
        self, replica: str, number: int, age_ms: int, rows: Sequence[tuple[str, str, tuple[int, ...]]]
    ) -> bytes:
        """Packs counts. ``rows``: tenant, model and the counts in the order of `UsageRow`."""
        words = [word for tenant, model, counts in rows for word in (tenant, model, *map(str, counts))]
        arguments = [replica.encode(), b"%d" % number, b"%d" % age_ms, *(word.encode() for word in words)]
        return self._packed("usage_add", [self._keys.domain], arguments)

    def usage(self, day: str) -> bytes:
        return self._packed("usage", [self._keys.usage(day)], [b""])

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
        names = [
            keys.domain,
            keys.leases,
            keys.events,
            keys.replicas,
            keys.replica(replica),
            keys.autoscale,
            keys.autoscale_week,
        ]
        names += (keys.deployment(deployment.id) for deployment in configuration.deployments)
        arguments = [b"%d" % waiting, b"%d" % DEAD_AFTER_MS, b"%d" % configuration.version]
        arguments += [b"%d" % policy.target_concurrency, b"%g" % policy.utilization, b"%d" % policy.min_replicas]
        arguments += [b"%d" % policy.max_replicas, b"%d" % policy.scale_down_delay_ms, b"%d" % policy.ahead_ms]
        arguments += [] if elsewhere is None else [b"%d" % elsewhere]
        return self._packed("autoscale", names, arguments)


def _limit_arguments(breaker: Breaker | None, is_same_share: bool) -> list[bytes]:
    """Returns the ms that the deployment cools and the ms of its rate limit that are used up; the latter are 0 when the
    limit was divided differently.
    """
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
