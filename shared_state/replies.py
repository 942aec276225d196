"""Replies of the scripts become Structs here and nowhere else. Each function names the script it reads."""

import time
from collections.abc import Sequence
from typing import cast

import msgspec

from shared_state.errors import NotConfigured, ScriptFailed
from shared_state.money import Account
from shared_state.records import Ask, Breaker, Heartbeat, MinuteUsed, Permit, Rejection, Settlement
from shared_state.snapshots import (
    Agreement,
    Bucket,
    CandidateVerdict,
    DeploymentSnapshot,
    DomainSnapshot,
    Event,
    Explanation,
    Forecast,
    ReplicaSnapshot,
    ScalingSignal,
)

Reply = list[object]
_NOTHING_USED = MinuteUsed()


def _text(value: object) -> str:
    """Whatever an operator wrote: a name cut in the middle of a character must not hide the state from everybody."""
    return cast(bytes, value).decode(errors="replace")


def _number(value: object) -> int:
    """Raises ScriptFailed: what was a number in the store has been written over."""
    if not isinstance(value, int):
        raise ScriptFailed(f"the state is corrupted: {value!r} is not a number")
    return value


_PROBE, _RESORT_PROBE = 1, 2  # as in lua/include/select/grant.lua


def acquired(reply: Reply, token: str, ask: Ask, ids: tuple[str, ...]) -> Permit | Rejection:
    """acquire. Raises NotConfigured."""
    code = reply[0]
    if code == b"granted":
        position, generation, sequence = _number(reply[1]) - 1, _number(reply[2]), _number(reply[4])
        used = MinuteUsed(_number(reply[7]), _number(reply[8])) if ask.tenant.name else _NOTHING_USED
        verdicts, scores = _verdicts(reply[9:], ask) if ask.is_traced else ((), ())
        kind = _number(reply[3])
        granted = (token, position, ids[position], generation, kind in (_PROBE, _RESORT_PROBE), ask, sequence, used)
        return Permit(*granted, verdicts, scores, is_last_resort=kind >= _RESORT_PROBE)
    if code == b"unconfigured":
        raise NotConfigured("the store does not know this configuration")
    verdicts, scores = _verdicts(reply[8:], ask)
    return Rejection(
        _text(code),
        _text(reply[1]),
        _number(reply[2]),
        _number(reply[3]),
        verdicts,
        MinuteUsed(_number(reply[6]), _number(reply[7])),
        scores,
    )


def block_acquired(
    reply: Reply, tokens: Sequence[str], ask: Ask, ids: tuple[str, ...]
) -> tuple[list[Permit], str, int]:
    """acquire_block: permits in the order of their grants, why there is none, sequence. Raises NotConfigured."""
    if reply[0] == b"unconfigured":
        raise NotConfigured("the store does not know this configuration")
    permits, sequence = [], _number(reply[2])
    for token, position, generation in zip(tokens, reply[5::2], reply[6::2], strict=False):
        if place := _number(position):
            permit = Permit(token, place - 1, ids[place - 1], _number(generation), False, ask, sequence, is_block=True)
            permits.append(permit)
    return permits, _text(reply[1]), sequence


def block_settled(reply: Reply) -> Settlement:
    """settle_block; known when any was."""
    return Settlement(_number(reply[0]) > 0, _text(reply[1]), _number(reply[2]), _number(reply[3]))


def _verdicts(words: Reply, ask: Ask) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """With the scores, where they were asked for."""
    verdicts = tuple(_text(word) for word in words)
    if not ask.is_traced:
        return verdicts, ()
    pairs = [verdict.partition("=") for verdict in verdicts]
    return tuple(pair[0] for pair in pairs), tuple(float(pair[2]) for pair in pairs)


def settled(reply: Reply) -> Settlement:
    """settle."""
    return Settlement(reply[0] == 1, _text(reply[1]), _number(reply[2]), _number(reply[3]))


def beaten(reply: Reply) -> Heartbeat:
    """beat."""
    return Heartbeat(
        epoch=_text(reply[0]),
        sequence=_number(reply[1]),
        now_ms=_number(reply[2]),
        policy_version=_number(reply[3]),
        active=_number(reply[4]),
        replicas_alive=_number(reply[5]),
        shed_reasons=_text(reply[6]),
        is_known=reply[7] == 1,
        dead_replicas=tuple(_text(replica) for replica in cast(Reply, reply[8])),
        breakers=_breakers(cast(Reply, reply[9])),
        tenants_version=_number(reply[10]),
        fingerprint=_text(reply[11]),
    )


_BREAKER_FIELDS = 9


def _breakers(row: Reply) -> dict[int, Breaker]:
    now_s, found = time.monotonic(), {}
    for k in range(0, len(row), _BREAKER_FIELDS):
        position, state, generation, remaining_ms, trips, reason, cool_ms, used_ms, error = row[k : k + _BREAKER_FIELDS]
        found[_number(position) - 1] = Breaker(
            _text(state),
            _number(generation),
            now_s + _number(remaining_ms) / 1000 if remaining_ms else 0.0,
            _number(trips),
            _text(reason),
            now_s + _number(cool_ms) / 1000,
            now_s + _number(used_ms) / 1000,
            _text(error),
        )
    return found


def reasserted(reply: Reply) -> int:
    """reassert: how many leases the store did not know. Raises NotConfigured."""
    if reply[0] == b"unconfigured":
        raise NotConfigured("the store does not know this configuration")
    return _number(reply[0])


def configured(reply: Reply) -> bool:
    """configure: whether the store holds the policy of that call now."""
    return reply[4] == 1


def reaped(reply: Reply) -> tuple[int, int, str]:
    """reap: leases removed, next offset or -1 when done, ids of the replica's deployments with commas between."""
    return _number(reply[0]), _number(reply[1]), _text(reply[2])


def forced(reply: Reply, ttl_ms: int, reason: str) -> Breaker | None:
    """force: the breaker as it is now; None when the deployment or the action is unknown."""
    if reply[0] != b"ok":
        return None
    ends_s = time.monotonic() + ttl_ms / 1000 if ttl_ms else 0.0
    return Breaker(_text(reply[1]), _number(reply[2]), ends_s, reason=reason)


def snapshot(replies: list[Reply], ids: list[tuple[str, ...]]) -> DomainSnapshot:
    """snapshot, called once per chunk of deployments; the domain is the newest chunk's."""
    head = cast(Reply, replies[-1][0])
    deployments: list[DeploymentSnapshot] = []
    for reply, chunk in zip(replies, ids, strict=True):
        for deployment_id, row in zip(chunk, reply[1:], strict=True):
            deployments.append(_deployment(deployment_id, _fields(cast(Reply, row))))
    return DomainSnapshot(
        epoch=_text(head[0]),
        sequence=_number(head[1]),
        now_ms=_number(head[2]),
        policy_version=_number(head[3]),
        active=_number(head[4]),
        replicas_alive=_number(head[5]),
        shed_reasons=_text(head[6]),
        healthy_ratio=float(_text(head[7])),
        requests=_number(head[8]),
        failures=_number(head[9]),
        retry_tokens=float(_text(head[10])),
        deployments=tuple(deployments),
    )


def _fields(row: Reply) -> dict[str, str]:
    words = [_text(word) for word in row]
    return dict(zip(words[::2], words[1::2], strict=True))


_STORED = "stored."


def _deployment(deployment_id: str, row: dict[str, str]) -> DeploymentSnapshot:
    fields: dict[str, object] = {name: value for name, value in row.items() if not name.startswith(_STORED)}
    stored = {name.removeprefix(_STORED): value for name, value in row.items() if name.startswith(_STORED)}
    buckets = [bucket.split(":") for bucket in row.get("histogram", "").split()]
    fields |= {"id": deployment_id, "stored": stored, "histogram": [Bucket(float(b[0]), float(b[1])) for b in buckets]}
    for name in ("baseline_ms", "slow_above_ms"):
        fields[name] = dict(word.split(":") for word in row.get(name, "").split())
    fields["unsupported"] = row.get("unsupported", "").split()
    return msgspec.convert(fields, DeploymentSnapshot, strict=False)


def checked(reply: Reply) -> tuple[bool, int]:
    """health_check: whether the check was claimed, or ended a cooldown; the breaker's generation."""
    return _number(reply[0]) == 1, _number(reply[1])


def forecast(row: Reply) -> Forecast | None:
    """foreseen, of one deployment."""
    return msgspec.convert(_fields(row), Forecast, strict=False) if row else None


def events(reply: Reply) -> list[Event]:
    """events."""
    found = []
    for event_id, row in cast(list[tuple[object, Reply]], reply):
        found.append(msgspec.convert({**_fields(row), "id": _text(event_id)}, Event, strict=False))
    return found


def roster(reply: Reply) -> list[ReplicaSnapshot]:
    """roster, by id."""
    now_ms, found = _number(reply[0]), []
    for replica_id, last_ms, *row in cast(list[Reply], reply[1:]):
        said = _fields(row)
        started_at_ms = int(said.get("started_at_ms", "0"))
        found.append(
            ReplicaSnapshot(
                id=_text(replica_id),
                silent_ms=max(0, now_ms - _number(last_ms)),
                address=said.get("address", ""),
                version=said.get("version", ""),
                age_ms=max(0, now_ms - started_at_ms) if started_at_ms else 0,
                is_draining=said.get("draining", "0") != "0",
                store=said.get("store", ""),
                is_behind=said.get("behind") == "1",
            )
        )
    return sorted(found, key=lambda replica: replica.id)


def autoscaled(reply: Reply) -> ScalingSignal | None:
    """autoscale. None: the store knows of no cluster yet."""
    if not reply:
        return None
    return msgspec.convert({**_fields(reply[1:]), "now_ms": _number(reply[0])}, ScalingSignal, strict=False)


def budgets(reply: Reply) -> list[tuple[Account, MinuteUsed]]:
    """budgets, in the order of the scopes that were asked for."""
    now_s, found = time.monotonic(), []
    for row in cast(list[Reply], reply):
        spent, reserved, per, period, left_ms, requests_ms, tokens_ms = row
        ends_s = now_s + _number(left_ms) / 1000 if left_ms else 0.0
        account = Account(_number(spent), _number(reserved), _text(per), _text(period), ends_s)
        found.append((account, MinuteUsed(_number(requests_ms), _number(tokens_ms))))
    return found


_VERDICT_FIELDS = 10


def explained(reply: Reply, ids: tuple[str, ...]) -> Explanation:
    """explain. Raises NotConfigured."""
    if reply[0] == b"unconfigured":
        raise NotConfigured("the store does not know this configuration")
    picked = _number(reply[1])
    candidates = []
    for position, deployment_id in enumerate(ids):
        row = reply[2 + position * _VERDICT_FIELDS :][:_VERDICT_FIELDS]
        candidates.append(
            CandidateVerdict(
                deployment_id=deployment_id,
                verdict=_text(row[0]),
                tier=_number(row[1]),
                state=_text(row[2]),
                active=_number(row[3]),
                limit=_number(row[4]),
                wait_ms=_number(row[5]),
                health=float(_text(row[6])),
                score=float(_text(row[7])),
                region=_text(row[8]),
                rtt_ms=float(_text(row[9])) if row[9] else None,
            )
        )
    return Explanation(_text(reply[0]), ids[picked - 1] if picked else None, tuple(candidates))


def agreed(reply: Reply) -> Agreement:
    """reload. Raises ScriptFailed."""
    try:
        return msgspec.json.decode(cast(bytes, reply[0]), type=Agreement)
    except msgspec.DecodeError as error:
        raise ScriptFailed(f"the configuration in the store is corrupted: {error}") from error


def published(reply: Reply) -> bytes:
    """reload, when it is read: the configuration in force as JSON; empty where no replica has published it."""
    return cast(bytes, reply[1])
