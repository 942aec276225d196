"""Many processes hammer one store. Sorted by their sequence, the replies must be those of one machine that does one
thing after the other: the model gives the same ones.
"""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from shared_state.embedded import EmbeddedStore
from shared_state.records import Permit
from tests.support.history_worker import COOLDOWN_MS, FAILURES, LEASE_MS, LIMITS, PROBES, SUCCESSES, configuration
from tests.support.live_state import opened_state
from tests.support.model import Model, Rules
from tests.support.stores import RedisCli, fresh_domain, on_loop

Note = tuple[list[str], list[Any]]
IDS = tuple(LIMITS)
GRANTED_SEQUENCE, REFUSED_SEQUENCE, SETTLED_SEQUENCE = 4, 3, 3


def sequence(note: Note) -> int:
    arguments, reply = note
    if is_settle(arguments):
        return int(reply[SETTLED_SEQUENCE])
    return int(reply[GRANTED_SEQUENCE if reply[0] == "granted" else REFUSED_SEQUENCE])


def is_settle(arguments: list[str]) -> bool:
    return len(arguments) == 11


def first_draw(seed: int) -> float:
    """Park and Miller's minimal standard generator."""
    return ((seed % 2147483647 or 1) * 16807) % 2147483647 / 2147483647


class Replay:
    """The model of the whole domain, asked in the order in which the store did it."""

    def __init__(self) -> None:
        self.models = {
            name: Model(Rules(limit, LEASE_MS, COOLDOWN_MS, FAILURES, PROBES, SUCCESSES))
            for name, limit in LIMITS.items()
        }
        self.permits: dict[str, Permit] = {}
        self.ended: dict[str, str] = {}
        self.seen: dict[str, int] = {}

    def check(self, note: Note) -> None:
        arguments, reply = note
        if is_settle(arguments):
            self.check_settle(arguments, reply)
        else:
            self.check_acquire(arguments, reply)

    def count(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1

    def check_acquire(self, arguments: list[str], reply: list[Any]) -> None:
        token, is_again = arguments[3], arguments[7] == "1"
        if reply[0] == "granted":
            position, generation, is_probe, order, now_ms = reply[1], reply[2], reply[3] == 1, reply[4], reply[6]
            name = IDS[position - 1]
            if is_again:
                self.count("resent")
                known = self.permits[token]
                assert (known.deployment_id, known.is_probe) == (name, is_probe)
                return
            model = self.models[name]
            probing = [m for m in self.models.values() if self.would_probe(m, now_ms)]
            assert not probing or model in probing, "a probe goes first, or a breaker never recovers"
            assert model.expect(now_ms) == "granted"
            assert (generation, is_probe) == (model.generation, model.state == "half_open")
            model.grant(token, now_ms)
            self.permits[token] = Permit(token, position - 1, name, generation, is_probe, False, order)
            self.count("probe" if is_probe else "granted")
        else:
            now_ms, verdicts = reply[5], reply[6:]
            assert reply[0] == "none"
            assert verdicts == [model.expect(now_ms) for model in self.models.values()]
            for verdict in verdicts:
                self.count(verdict)

    def would_probe(self, model: Model, now_ms: int) -> bool:
        is_over = model.state == "open" and now_ms >= model.open_until_ms
        is_free = model.state == "half_open" and model.issued < PROBES
        return (is_over or is_free) and now_ms >= model.cool_until_ms and model.active(now_ms) < model.rules.limit

    def check_settle(self, arguments: list[str], reply: list[Any]) -> None:
        token, outcome, seed, now_ms = arguments[1], arguments[2], int(arguments[10]), reply[5]
        permit = self.permits.pop(token, None)
        assert (reply[0] == 1) == (permit is not None)
        if permit is None:
            self.count("settled twice")
            assert token in self.ended
            model = self.models[self.ended[token]]
        else:
            self.ended[token] = permit.deployment_id
            model = self.models[permit.deployment_id]
            generation, trips = model.generation, model.trips
            model.settle(permit, outcome, now_ms)
            if model.state == "open" and model.generation != generation:
                self.count("opened")
                cooldown_ms = min(COOLDOWN_MS * 2 ** (model.trips - 1), 300_000)
                model.open_until_ms = int(now_ms + cooldown_ms * (0.9 + 0.2 * first_draw(seed)))
                assert model.trips >= trips
        assert reply[1:3] == [model.state, model.generation]


async def configured_domain(server: EmbeddedStore) -> str:
    domain = fresh_domain()
    async with opened_state(server.url, *configuration().deployments, domain=domain, is_configured=False) as state:
        state.store.configuration = configuration()
        await state.store.configure()
    return domain


def history(server: EmbeddedStore, domain: str, processes: int, seconds: float) -> list[Note]:
    command = [sys.executable, "-m", "tests.support.history_worker", server.url, domain]
    workers = [
        subprocess.Popen([*command, f"r{number}", str(seconds)], stdout=subprocess.PIPE) for number in range(processes)
    ]
    notes: list[Note] = []
    for worker in workers:
        output, _ = worker.communicate(timeout=seconds + 60)
        assert worker.returncode == 0
        notes += [json.loads(line) for line in output.splitlines()]
    return sorted(notes, key=sequence)


async def check(server: EmbeddedStore, cli: RedisCli, processes: int, seconds: float) -> dict[str, int]:
    domain = await configured_domain(server)
    notes = await asyncio.to_thread(history, server, domain, processes, seconds)
    first = sequence(notes[0])
    assert [sequence(note) for note in notes] == list(range(first, first + len(notes))), "a gap or a double"
    replay = Replay()
    for note in notes:
        replay.check(note)
    assert replay.permits == {}
    assert cli.do("ZCARD", f"pllm:{{{domain}}}:leases") == 0
    events = cli.do("XLEN", f"pllm:{{{domain}}}:events")
    assert events >= min(1000, len(LIMITS) + sum(model.generation for model in replay.models.values()))
    return replay.seen


EXPECTED = {"granted", "probe", "resent", "settled twice", "opened", "full", "open", "probing"}


@on_loop
async def test_history_of_four_processes_is_that_of_one_machine(server: EmbeddedStore, cli: RedisCli) -> None:
    seen = await check(server, cli, 4, 1.5)

    assert seen.keys() >= {"granted", "probe", "resent", "settled twice", "opened", "open"}


@pytest.mark.long
@on_loop
async def test_history_of_eight_processes_is_that_of_one_machine(server: EmbeddedStore, cli: RedisCli) -> None:
    seen = await check(server, cli, 8, 10)

    assert seen.keys() >= EXPECTED
