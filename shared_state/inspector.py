"""Reads the store from outside, for `pllm state` where no redis-cli is installed: either the deciding scripts decode
the state, or one command is sent and its reply shown as lines. Apart from that command, only signatures of tenants are
written.
"""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec
import redis

from shared_state.calls import view_replies
from shared_state.calls.script_calls import DEAD_AFTER_MS, REPLICAS_SHOWN, Detail
from shared_state.connection.client import query
from shared_state.connection.topology import Topology
from shared_state.errors import StateError
from shared_state.keys import Keys
from shared_state.scripts import assemble
from shared_state.snapshots import DeploymentSnapshot, DomainSnapshot, Event, ReplicaSnapshot

TIMEOUT_S = 5.0
CHUNK = 50  # deployments in one call
EVENTS_SHOWN, LEASES_SHOWN, BUDGETS_SHOWN = 10, 20, 50
_PROBE, _ANSWERED = 0.5, 0.25  # as in lua/include/lease/lease.lua


class Overview(msgspec.Struct, frozen=True):
    """A domain now. ``events``: the latest, newest first; ``budgets``: by scope, as stored."""

    snapshot: DomainSnapshot
    replicas: list[ReplicaSnapshot]
    events: list[Event]
    budgets: dict[str, dict[str, str]]


class Lease(msgspec.Struct, frozen=True):
    """One active request."""

    token: str
    age_ms: int
    is_probe: bool
    is_answered: bool


class Inspected(msgspec.Struct, frozen=True):
    """One deployment now. ``leases``: the oldest of its active requests."""

    deployment: DeploymentSnapshot
    leases: list[Lease]
    now_ms: int


class Inspector:
    """One domain of one store. Every method may raise StateError."""

    def __init__(self, client: Any, domain: str) -> None:
        self._client = client
        self._keys = Keys(domain)

    def overview(self) -> Overview:
        roster = view_replies.roster(self._run("roster", [self._keys.domain, self._keys.replicas], [REPLICAS_SHOWN]))
        events = view_replies.events(self._run("events", [self._keys.events], ["newest", "", EVENTS_SHOWN]))
        return Overview(self._snapshot(self._ids(roster), 0), roster, events, self._budgets())

    def deployment(self, deployment_id: str) -> Inspected | None:
        """Returns None when the domain has no deployment with this id."""
        if self._client.execute_command("TYPE", self._keys.deployment(deployment_id)) != b"hash":
            return None
        snapshot = self._snapshot([deployment_id], 2)
        key = self._keys.deployment_leases(deployment_id)
        found = self._client.execute_command("ZRANGE", key, 0, LEASES_SHOWN - 1, "WITHSCORES")
        pairs = [(member, float(score)) for member, score in zip(found[::2], found[1::2], strict=True)]
        leases = [_lease(member, score, snapshot.now_ms) for member, score in pairs]
        return Inspected(snapshot.deployments[0], leases, snapshot.now_ms)

    def execute(self, words: Sequence[str]) -> list[str]:
        try:
            return _lines(self._client.execute_command(*words))
        except redis.ResponseError as error:
            if len(words) == 1 and "unknown command" in str(error):
                raise StateError(f"no deployment of this domain and no command is named {words[0]}") from error
            raise

    def tenants(self, what: str, *changes: tuple[str, bytes, bytes]) -> dict[str, bytes]:
        """Returns the JSON of each tenant by name. ``what``: `read`, or `sign` with changes of (name, JSON, signed
        JSON).
        """
        epoch = f"e{secrets.token_hex(8)}"  # for a store that has none
        arguments = [epoch, what, "tenants", "", "pllm tenants", *(part for change in changes for part in change)]
        names = [self._keys.domain, self._keys.tenants, self._keys.events]
        _version, *pairs = self._run("tenants", names, arguments)
        found = cast(list[bytes], pairs)
        return {
            name.decode(errors="backslashreplace"): text for name, text in zip(found[::2], found[1::2], strict=True)
        }

    def _ids(self, roster: Sequence[ReplicaSnapshot]) -> list[str]:
        """Returns the deployments that replicas report; without any replica, those found by a search."""
        ids_of = (self._client.execute_command("HGET", self._keys.replica(each.id), "deployments") for each in roster)
        ids = dict.fromkeys(name for names in ids_of if names for name in names.decode().split(",") if name)
        if ids:
            return list(ids)
        prefix = self._keys.deployment("")
        found = self._client.scan_iter(match=prefix.replace(b"[", b"\\[") + b"*", count=1000)
        return sorted(key.removeprefix(prefix).decode(errors="replace") for key in found)

    def _budgets(self) -> dict[str, dict[str, str]]:
        """Returns some budgets as stored; none where this user may not search."""
        prefix, found = self._keys.scopes([""])[0], {}
        with contextlib.suppress(redis.exceptions.NoPermissionError):
            keys = self._client.scan_iter(match=prefix.replace(b"[", b"\\[") + b"*", count=1000)
            for key in sorted(itertools.islice(keys, BUDGETS_SHOWN)):
                fields = self._client.execute_command("HGETALL", key)
                pairs = fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2], strict=True)
                scope = key.removeprefix(prefix).decode(errors="replace")
                found[scope] = {name.decode(): value.decode(errors="replace") for name, value in pairs}
        return found

    def _snapshot(self, ids: Sequence[str], detail: Detail) -> DomainSnapshot:
        chunks = [tuple(ids[k : k + CHUNK]) for k in range(0, len(ids), CHUNK)] or [()]
        answers = [self._run("snapshot", self._keys.snapshot(chunk), [DEAD_AFTER_MS, detail]) for chunk in chunks]
        return view_replies.snapshot(answers, chunks)

    def _run(self, name: str, names: Sequence[bytes], arguments: Sequence[object]) -> list[object]:
        """Runs a script with no more rights than a gateway has."""
        script = assemble(name)
        self._client.execute_command("SCRIPT LOAD", script.text)
        reply: list[object] = self._client.execute_command("EVALSHA", script.sha, len(names), *names, *arguments)
        return reply


def _lease(member: bytes, score: float, now_ms: int) -> Lease:
    mark = score % 1
    age_ms = max(0, now_ms - int(score))
    return Lease(member.decode(errors="replace"), age_ms, mark >= _PROBE, mark % _PROBE >= _ANSWERED)


@contextlib.contextmanager
def inspecting(url: str, domain: str, key: str = "") -> Iterator[Inspector]:
    """Opens an inspector. ``key`` selects the Cluster node where that is not the domain's. Raises StateError when the
    store does not answer or refuses a command.
    """
    try:
        located = asyncio.run(Topology(url, key.encode() or Keys(domain).domain).locate(query))
        # The older protocol, so that replies look the same on every server.
        with redis.Redis.from_url(
            located, protocol=2, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        ) as client:
            yield Inspector(client, domain)
    except redis.exceptions.MovedError as moved:
        raise StateError(
            f"this server is a node of a Cluster, but another one has these keys: use redis+cluster://{moved.host}:"
            f"{moved.port}"
        ) from moved
    except (redis.RedisError, ValueError) as error:
        raise StateError(str(error)) from error


def _lines(reply: object, indent: str = "") -> list[str]:
    if isinstance(reply, dict):
        width = max((len(_word(key)) for key in reply), default=0)
        return [f"{indent}{_word(key):<{width}}  {_word(value)}" for key, value in reply.items()]
    if isinstance(reply, list | tuple | set):
        lines: list[str] = []
        for number, item in enumerate(reply, 1):
            is_nested = isinstance(item, dict | list | tuple)
            lines += [f"{indent}{number})", *_lines(item, indent + "   ")] if is_nested else [f"{indent}{_word(item)}"]
        return lines
    return [indent + _word(reply)]


def _word(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
