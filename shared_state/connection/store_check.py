"""Checks before the first write that a store is fit to be shared, so that no foreign value is overwritten."""

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from shared_state.connection.client import Client
from shared_state.connection.product import WANTED, product_of
from shared_state.errors import StateError, StoreRefuses, StoreUnfit
from shared_state.keys import Keys

SCHEMA = 1  # as in lua/include/store/domain.lua

_log = logging.getLogger("pllm.state")


async def check(client: Client, keys: Keys, deployments: Iterable[str]) -> None:
    """Checks the store. Raises StoreUnfit with all problems, or StoreUnavailable."""
    deployments = tuple(deployments)
    types = _types(keys, deployments)
    commands = [(b"INFO", b"memory"), (b"HMGET", keys.domain, b"epoch", b"schema"), (b"TYPE", keys.domain)]
    memory, schema, domain, *found = await client.execute(*commands, *((b"TYPE", key) for key in types))
    refused = next((reply for reply in (memory, schema, *found) if isinstance(reply, StoreRefuses)), None)
    if refused is not None and str(refused).startswith("MOVED") and not client.is_cluster:
        raise StoreUnfit("the store is a node of a Cluster, and another node holds the domain: use redis+cluster://")
    if refused is not None:
        raise refused
    product = await product_of(client, keys)
    if product.lacks:
        raise StoreUnfit(f"the store, {product.full_name}, lacks {', '.join(product.lacks)}: {WANTED}")
    if not product.is_tested:
        _log.warning("the store is %s, which is not tested with this gateway: %s", product.full_name, WANTED)
    problems = [
        f"key {key.decode()} holds a {_text(kind)}, not a {wanted}: it is foreign, choose another state.domain"
        for (key, wanted), kind in zip(types.items(), found, strict=True)
        if _text(kind) not in (wanted, "none")
    ]
    if _text(domain) == "hash":
        problems += _schema_problems(keys, schema)
    if not problems:
        problems += await _foreign_contents(client, keys, deployments)
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


_TOKEN = re.compile(rb".+\.(plain|stream)\.\w+( .+)?")  # and its tenant
WINDOW_BYTES = 756  # as in lua/include/window/window.lua


def _is_policy(value: bytes) -> bool:
    try:
        policy = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(policy, dict) and "version" in policy


def _is_window(value: bytes) -> bool:
    return len(value) == WINDOW_BYTES


def _are_leases(first: list[bytes]) -> bool:
    return bool(_TOKEN.fullmatch(first[0]))


async def _foreign_contents(client: Client, keys: Keys, deployments: Iterable[str]) -> list[str]:
    """Returns a problem for each value of the right type that this gateway did not write. Absent values are accepted,
    and so are values that the running cluster removes between the two commands.
    """
    questions: list[tuple[bytes, tuple[bytes, ...], Callable[[Any], bool]]] = [
        (keys.policy, (b"GET", keys.policy), _is_policy),
        (keys.window, (b"GET", keys.window), _is_window),
        (keys.leases, (b"ZRANGE", keys.leases, b"0", b"0"), _are_leases),
    ]
    for deployment_id in deployments:
        own, leases, window = keys.candidate(deployment_id)
        fields = (b"HMGET", own, b"config_version", b"state", b"lease_ms", b"limit")
        questions += [
            (own, fields, lambda row: all(row) and row[0].isdigit() and row[2].isdigit() and row[3].isdigit()),
            (leases, (b"ZRANGE", leases, b"0", b"0"), _are_leases),
            (window, (b"GET", window), _is_window),
        ]
    commands = [(b"TYPE", key) for key, _, _ in questions] + [command for _, command, _ in questions]
    replies = await client.execute(*commands)
    kinds, values = replies[: len(questions)], replies[len(questions) :]
    return [
        f"key {key.decode()} holds a value of another program: choose another state.domain"
        for (key, _, is_ours), kind, value in zip(questions, kinds, values, strict=True)
        if _text(kind) != "none" and not isinstance(value, StateError) and value and not is_ours(value)
    ]


def _schema_problems(keys: Keys, reply: object) -> list[str]:
    if not isinstance(reply, list):
        return []
    if reply[1] == b"%d" % SCHEMA:
        return []
    found = _text(reply[1]) if reply[1] else "unknown"
    return [f"key {keys.domain.decode()} has schema {found}, this version writes {SCHEMA}: choose another state.domain"]


def _text(reply: object) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
