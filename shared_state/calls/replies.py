"""Converts replies of the deciding scripts to Structs. Each docstring names the script whose reply the function reads.
`view_replies` reads the replies of the scripts that show the state.
"""

import time
from collections.abc import Sequence
from typing import cast

import msgspec

from shared_state.calls.reply_values import as_number, as_text
from shared_state.connection.call import Reply
from shared_state.errors import NotConfigured, ScriptFailed
from shared_state.records import Ask, Breaker, Heartbeat, MinuteUsed, Permit, Rejection, Settlement
from shared_state.snapshots import Agreement

_NOTHING_USED = MinuteUsed()
_PROBE, _RESORT_PROBE, _OWNED = 1, 2, 4  # as in lua/include/select/grant.lua


def acquired(reply: Reply, token: str, ask: Ask, ids: tuple[str, ...]) -> Permit | Rejection:
    """Reads the reply of acquire. Raises NotConfigured."""
    code = reply[0]
    if code == b"granted":
        position, generation, sequence = as_number(reply[1]) - 1, as_number(reply[2]), as_number(reply[4])
        used = MinuteUsed(as_number(reply[7]), as_number(reply[8])) if ask.tenant.name else _NOTHING_USED
        affinity = as_text(reply[9]) if ask.session else ""
        verdicts, scores = _verdicts(reply[9 + bool(ask.session) :], ask) if ask.is_traced else ((), ())
        is_owned, kind = divmod(as_number(reply[3]), _OWNED)
        granted = (token, position, ids[position], generation, kind in (_PROBE, _RESORT_PROBE), ask, sequence, used)
        more = (verdicts, scores, False, kind >= _RESORT_PROBE, is_owned > 0, affinity)
        return Permit(*granted, *more)
    if code == b"unconfigured":
        raise NotConfigured("the store does not know this configuration")
    verdicts, scores = _verdicts(reply[8:], ask)
    return Rejection(
        as_text(code),
        as_text(reply[1]),
        as_number(reply[2]),
        as_number(reply[3]),
        verdicts,
        MinuteUsed(as_number(reply[6]), as_number(reply[7])),
        scores,
    )


def block_acquired(
    reply: Reply, tokens: Sequence[str], ask: Ask, ids: tuple[str, ...]
) -> tuple[list[Permit], str, int]:
    """Reads the reply of acquire_block: permits in the order of their grants, the reason for none, and the sequence.
    Raises NotConfigured.
    """
    if reply[0] == b"unconfigured":
        raise NotConfigured("the store does not know this configuration")
    permits, sequence = [], as_number(reply[2])
    for token, position, generation in zip(tokens, reply[5::2], reply[6::2], strict=False):
        if place := as_number(position):
            permit = Permit(
                token, place - 1, ids[place - 1], as_number(generation), False, ask, sequence, is_block=True
            )
            permits.append(permit)
    return permits, as_text(reply[1]), sequence


def block_settled(reply: Reply) -> Settlement:
    """Reads the reply of settle_block; ``is_known`` if the store knew any of the leases."""
    return Settlement(as_number(reply[0]) > 0, as_text(reply[1]), as_number(reply[2]), as_number(reply[3]))


def _verdicts(words: Reply, ask: Ask) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Returns the verdicts, and the scores where the request is traced."""
    verdicts = tuple(as_text(word) for word in words)
    if not ask.is_traced:
        return verdicts, ()
    pairs = [verdict.partition("=") for verdict in verdicts]
    return tuple(pair[0] for pair in pairs), tuple(float(pair[2]) for pair in pairs)


def settled(reply: Reply) -> Settlement:
    """Reads the reply of settle."""
    return Settlement(reply[0] == 1, as_text(reply[1]), as_number(reply[2]), as_number(reply[3]))


def beaten(reply: Reply) -> Heartbeat:
    """Reads the reply of beat."""
    return Heartbeat(
        epoch=as_text(reply[0]),
        sequence=as_number(reply[1]),
        now_ms=as_number(reply[2]),
        policy_version=as_number(reply[3]),
        active=as_number(reply[4]),
        replicas_alive=as_number(reply[5]),
        shed_reasons=as_text(reply[6]),
        is_known=reply[7] == 1,
        dead_replicas=tuple(as_text(replica) for replica in cast(Reply, reply[8])),
        breakers=_breakers(cast(Reply, reply[9])),
        tenants_version=as_number(reply[10]),
        fingerprint=as_text(reply[11]),
        secret=as_text(reply[12]).encode(),
    )


_BREAKER_FIELDS = 9


def _breakers(row: Reply) -> dict[int, Breaker]:
    now_s, found = time.monotonic(), {}
    for k in range(0, len(row), _BREAKER_FIELDS):
        position, state, generation, remaining_ms, trips, reason, cool_ms, used_ms, error = row[k : k + _BREAKER_FIELDS]
        found[as_number(position) - 1] = Breaker(
            as_text(state),
            as_number(generation),
            now_s + as_number(remaining_ms) / 1000 if remaining_ms else 0.0,
            as_number(trips),
            as_text(reason),
            now_s + as_number(cool_ms) / 1000,
            now_s + as_number(used_ms) / 1000,
            as_text(error),
        )
    return found


def reasserted(reply: Reply) -> int:
    """Reads the reply of reassert: the number of leases that the store did not know. Raises NotConfigured."""
    if reply[0] == b"unconfigured":
        raise NotConfigured("the store does not know this configuration")
    return as_number(reply[0])


def configured(reply: Reply) -> bool:
    """Reads the reply of configure: whether the store now holds the policies of the call."""
    return reply[4] == 1


def reaped(reply: Reply) -> tuple[int, int, str]:
    """Reads the reply of reap: the number of removed leases, the next offset (-1 when done), and the ids of the
    replica's deployments, separated by commas.
    """
    return as_number(reply[0]), as_number(reply[1]), as_text(reply[2])


def forced(reply: Reply, ttl_ms: int, reason: str) -> Breaker | None:
    """Reads the reply of force: the breaker as it is now; None when the deployment or the action is unknown."""
    if reply[0] != b"ok":
        return None
    ends_s = time.monotonic() + ttl_ms / 1000 if ttl_ms else 0.0
    return Breaker(as_text(reply[1]), as_number(reply[2]), ends_s, reason=reason)


def checked(reply: Reply) -> tuple[bool, int]:
    """Reads the reply of health_check: whether the check was claimed or has ended a cooldown, and the breaker's
    generation.
    """
    return as_number(reply[0]) == 1, as_number(reply[1])


def agreed(reply: Reply) -> Agreement:
    """Reads the reply of reload. Raises ScriptFailed."""
    try:
        return msgspec.json.decode(cast(bytes, reply[0]), type=Agreement)
    except msgspec.DecodeError as error:
        raise ScriptFailed(f"the configuration in the store is corrupted: {error}") from error


def published(reply: Reply) -> bytes:
    """Reads the reply of reload to `read`: the configuration in force as JSON; empty until a replica publishes it."""
    return cast(bytes, reply[1])
