"""Is this store fit to be shared? Asked before the first write: nothing of somebody else's is overwritten."""

from collections.abc import Iterable

from shared_state.client import Client
from shared_state.errors import StoreRefuses, StoreUnfit
from shared_state.keys import Keys

SCHEMA = 1  # as in lua/include/domain.lua


async def check(client: Client, keys: Keys, deployments: Iterable[str]) -> None:
    """Raises StoreUnfit with everything that somebody has to look at, StoreUnavailable."""
    types = _types(keys, deployments)
    commands = [(b"INFO", b"memory"), (b"HMGET", keys.domain, b"epoch", b"schema")]
    memory, schema, *found = await client.execute(*commands, *((b"TYPE", key) for key in types))
    refused = next((reply for reply in (memory, schema, *found) if isinstance(reply, StoreRefuses)), None)
    if refused is not None:
        raise refused
    problems = [
        f"key {key.decode()} holds a {_text(kind)}, not a {wanted}: it is not ours, choose another state.domain"
        for (key, wanted), kind in zip(types.items(), found, strict=True)
        if _text(kind) not in (wanted, "none")
    ]
    problems += _schema_problems(keys, schema)
    policy = next(
        (line.partition(":")[2] for line in _text(memory).split() if line.startswith("maxmemory_policy:")), ""
    )
    if policy not in ("", "noeviction"):
        problems.append(f"maxmemory-policy is {policy}: it would drop leases and breakers, set it to noeviction")
    if problems:
        raise StoreUnfit("; ".join(problems))


def _types(keys: Keys, deployments: Iterable[str]) -> dict[bytes, str]:
    types = {keys.domain: "hash", keys.policy: "string", keys.leases: "zset", keys.window: "string"}
    types |= {keys.events: "stream", keys.replicas: "zset"}
    for deployment_id in deployments:
        names = keys.candidate(deployment_id)
        types |= dict(zip(names, ("hash", "zset", "string"), strict=True))
    return types


def _schema_problems(keys: Keys, reply: object) -> list[str]:
    if not isinstance(reply, list) or reply[0] is None:
        return []  # of another type, which is said already, or not there yet
    if reply[1] == b"%d" % SCHEMA:
        return []
    found = _text(reply[1]) if reply[1] else "unknown"
    return [f"key {keys.domain.decode()} has schema {found}, this version writes {SCHEMA}: choose another state.domain"]


def _text(reply: object) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
