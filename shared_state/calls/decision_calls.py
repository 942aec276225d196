"""Packs the calls of the scripts that decide on one request, such as acquire and settle. A call is packed once per
request, so the parts common to all requests of a model or deployment are packed in advance.
"""

import secrets
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec

from shared_state.calls.owned import OWNED_MOST, Kept
from shared_state.calls.packing import Packer
from shared_state.connection.commands import pack, pack_number
from shared_state.keys import DOMAIN, Keys, tenant_scope
from shared_state.ledger import Ledger
from shared_state.policies import TenantLimits
from shared_state.records import CALL_KINDS, FIRST_TURN, REASON_MOST, Ask, BlockEnding, Ending, Outcome, Permit, Plan
from shared_state.scripts import Script

TENANTS_KEPT = 10_000  # packed limits
_NOTHING = pack(b"")
_OUTCOMES = {outcome: pack(outcome.encode()) for outcome in Outcome}
_WAITING = tuple((pack(waiting, b"0"), pack(waiting, b"1")) for waiting in (b"0", b"1", b"2"))  # untraced, traced
_KINDS = {kind: pack(kind.encode()) for kind in ("", *CALL_KINDS)}
_UNUSED = Ending(Outcome.CANCELLED)
_NOT_SERVED = frozenset({Outcome.FAILURE, Outcome.TIMEOUT, Outcome.THROTTLED, Outcome.OVERLOADED, Outcome.UNSUPPORTED})
_SAMPLED = 4  # one of this many cache shares is reported: each one is a write
_DIGEST = 12  # bytes: of a million sessions, two have the same hash once in 10^17


def part(limit: int, replicas: int) -> int:
    """Returns the share of a limit for each of N replicas that do not know of each other; at least 1."""
    return max(1, limit // replicas)


class DecisionCalls(Packer):
    """Packs decisions. ``ledger``: given for a store that keeps only this replica's share of each budget."""

    def __init__(self, scripts: Mapping[str, Script], keys: Keys, ledger: Ledger | None = None) -> None:
        super().__init__(scripts, keys)
        self._ledger = ledger
        self._keyed: blake2b | None = None
        self._measured = 0  # cache shares of pinned calls
        self._settle_prefixes: dict[str, bytes] = {}
        self._tenants: dict[tuple[TenantLimits, int], bytes] = {}

    def plan(
        self, candidates: Sequence[tuple[str, int]], strategy: str, region: str = "", has_more: bool = False
    ) -> Plan:
        """Packs the common part of an acquire. ``candidates``: (deployment id, tier) in chain order; ``region``: this
        replica's; ``has_more``: further candidates follow in another domain.
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
        return Plan(ids, tiers, strategy, self._prefix("acquire", 20, *names) + static, region)

    def acquire(self, plan: Plan, token: str, ask: Ask, replicas: int = 1) -> bytes:
        """Packs all arguments but the resend flag and the connection's number. ``replicas``: the number that share the
        tenant's limits.
        """
        head = pack(token.encode(), b"%d" % ask.priority, self._seed(), b"%d" % ask.attempt, b"%d" % ask.tokens)
        spending = _NOTHING if ask.spending is None else pack(self._spending(ask, replicas))
        limits, waiting = self._limits(ask.tenant, replicas), _WAITING[ask.waiting][ask.is_traced]
        session = pack(self._hashes(ask.session)) if ask.session else _NOTHING
        restriction = pack(restriction_of(ask)) if ask.only or ask.owned else _NOTHING
        return plan.prefix + head + limits + waiting + spending + _KINDS[ask.kind] + restriction + session

    @property
    def has_secret(self) -> bool:
        """Whether sessions can be named to the store; not before its first heartbeat."""
        return self._keyed is not None

    def use_secret(self, secret: bytes) -> None:
        """Sets the secret of the hashes under which the store keeps pins."""
        self._keyed = blake2b(key=secret, digest_size=_DIGEST) if secret else None

    def _hashes(self, names: Sequence[bytes]) -> bytes:
        """Returns the hashes of names, the session's with its mark. No name of a client's is stored."""
        if self._keyed is None or not names:
            return b""
        hashes, is_first = [], names[0].startswith(FIRST_TURN)
        for name in (names[0].removeprefix(FIRST_TURN), *names[1:]):
            digest = self._keyed.copy()
            digest.update(name)
            hashes.append(digest.hexdigest())
        return ("+" * is_first + " ".join(hashes)).encode()

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
            prefix = self._prefix("settle", 18, *names, *keys.candidate(permit.deployment_id)) + pack(self._epoch)
            self._settle_prefixes[permit.deployment_id] = prefix
        ask = permit.ask
        return b"".join(
            (
                prefix,
                pack(permit.token.encode()),
                _OUTCOMES[ending.outcome],
                pack_number(permit.generation),
                pack_number(permit.is_probe),
                pack_number(ending.latency_ms),
                pack_number(permit.is_stream),
                pack_number(ending.output_tokens),
                pack_number(ending.retry_after_ms),
                pack_number(ending.is_final),
                pack(self._seed()),
                pack_number(ask.tokens),
                pack_number(ending.tokens),
                pack_number(part(ask.tenant.tpm, replicas) if ask.tenant.tpm else 0),
                pack(_charge(permit, ending)) if ask.spending else _NOTHING,
                _KINDS[ask.kind],
                pack(reason_of(ending)) if ending.reason else _NOTHING,
                pack(self._learned(permit, ending)) if ask.session else _NOTHING,
            )
        )

    def _learned(self, permit: Permit, ending: Ending) -> bytes:
        """Returns what the end of a call shows of its pins, as `settle` takes it."""
        if ending.outcome in _NOT_SERVED:
            # Where another attempt follows, its decision moves the pin.
            return self._hashes(permit.ask.session) if ending.is_final else b""
        if ending.cache_share < 0 or permit.affinity != "pinned" or ending.outcome is not Outcome.SUCCESS:
            return b""
        self._measured += 1
        return b"" if self._measured % _SAMPLED else b"=%.3f" % ending.cache_share

    def remember(self, deployment_id: str, owned: Sequence[str], kept: Kept) -> bytes:
        names, head = (self._keys.domain, self._keys.owners), (deployment_id.encode(), b"%d" % kept.ttl_ms)
        secret = secrets.token_hex(16).encode()
        digests = (digest.encode() for digest in owned[:OWNED_MOST])
        return self._packed("remember", names, [*head, b"%d" % kept.most, secret, *digests])

    def acquire_block(self, plan: Plan, tokens: Sequence[str], ask: Ask, hold_ms: int) -> tuple[bytes, ...]:
        """Returns three calls without the connection's number: the first, its repetition, and a repetition that only
        returns what was granted.
        """
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

    def explain(self, plan: Plan, ask: Ask, replicas: int = 1) -> bytes:
        """Packs a dry run of acquire. ``replicas``: as in `acquire`."""
        names = [self._keys.domain, self._keys.policy, self._keys.leases]
        for deployment_id in plan.ids:
            names += self._keys.candidate(deployment_id)
        if plan.region:
            names.append(self._keys.round_trips(plan.region))
        tiers = ",".join(map(str, plan.tiers)).encode()
        arguments = [plan.strategy.encode(), tiers, b"%d" % ask.priority, self._seed(), ask.tenant.name.encode()]
        arguments += [b"" if ask.spending is None else self._spending(ask, replicas), ask.kind.encode()]
        arguments += [restriction_of(ask), self._hashes(ask.session)]
        return self._packed("explain", names, arguments)


def restriction_of(ask: Ask) -> bytes:
    """Returns what restricts the candidates, as lua/include/select/restrict.lua reads it; empty without that."""
    given = {name: words for name, words in (("only", ask.only), ("owned", ask.owned)) if words}
    return msgspec.json.encode(given) if given else b""


def reason_of(ending: Ending) -> bytes:
    """Returns the reason on one line, cut to whole characters."""
    return " ".join(ending.reason.split())[:REASON_MOST].encode(errors="replace") if ending.reason else b""


def _charge(permit: Permit, ending: Ending) -> bytes:
    """Returns cost, reservation and budgets of the call; empty without a reservation."""
    if not permit.reserved:
        return b""
    return f"{ending.cost} {permit.reserved} {scopes_of(permit)}".encode()


def scopes_of(permit: Permit) -> str:
    """Returns the budgets in which a permit is reserved, as `reservations` names them."""
    spending = permit.ask.spending
    named = (("domain", spending and spending.domain), ("tenant", spending and spending.tenant))
    return " ".join(name for name, budget in named if budget is not None)


def budgets_of(permit: Permit) -> list[str]:
    """Returns the same budgets by their scopes in the ledger."""
    scopes = {"domain": DOMAIN, "tenant": tenant_scope(permit.ask.tenant.name)}
    return [scopes[name] for name in scopes_of(permit).split()]
