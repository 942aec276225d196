"""Many processes hammer one store. Sorted by their sequence, the replies must be those of one machine that does one
thing after the other: the model gives the same ones.
"""

import asyncio
import dataclasses
import json
import re
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from shared_state.embedded import EmbeddedStore
from shared_state.keys import Keys
from tests.support.deployment_model import Until, drawn
from tests.support.history_worker import AFFINITY, ROUTER, RULES, configuration
from tests.support.live_state import opened_state
from tests.support.model import Choice, Domain, Refusal
from tests.support.pin_model import Grant, InForce, Pins, measure
from tests.support.stores import RedisCli, fresh_domain, on_loop

Note = tuple[str, list[str], list[Any]]
IDS = tuple(RULES)
HISTORIES_MOST = 10
MARKS = ((False, False), (True, False), (True, True), (False, True))  # a probe, a last resort; by acquire's number


def sequence(note: Note) -> int:
    script, _, reply = note
    place = {"beat": 1, "acquire": 4 if reply[0] == "granted" else 3}
    return int(reply[place.get(script, 3)])


class Replay:
    """The model of the whole domain, asked in the order in which the store did it."""

    def __init__(self, first: int) -> None:
        self.pins: Pins = dataclasses.replace(AFFINITY, placed={})
        self.model = Domain(ROUTER, pins=self.pins)
        for name, rules in RULES.items():
            self.model.configure(name, rules, 1, 0)
        assert self.model.sequence == first - 1
        self.holder: dict[str, str] = {}
        self.seen: Counter[str] = Counter()

    def check(self, note: Note) -> None:
        script, arguments, reply = note
        getattr(self, f"check_{script}")(arguments, reply)
        assert self.model.sequence == sequence(note)

    def check_acquire(self, arguments: list[str], reply: list[Any]) -> None:
        strategy, token, is_again, now_ms = arguments[0], arguments[3], arguments[18] == "1", self.time(reply)
        self.seen["left"] += arguments[-1] == "left"
        if is_again and (held := self.model.resent(IDS, token, now_ms)):
            self.seen["resent"] += 1
            assert reply[9:] == (["none"] if arguments[17] else [])
            name, lease = held
            assert (reply[0], IDS[reply[1] - 1], *MARKS[reply[3]]) == (
                "granted",
                name,
                lease.is_probe,
                lease.is_last_resort,
            )
            return
        kind, hashes = arguments[15], arguments[17].split()
        pins = self.pins.in_force(hashes, now_ms)
        expected = self.model.acquire([IDS], strategy, now_ms, self.fail_on_deadline, kind, pins=pins)
        if reply[0] != "granted":
            self.seen.update(reply[8:])
            assert Refusal(reply[0], reply[2], tuple(reply[8:])) == expected
            return
        name = IDS[reply[1] - 1]
        assert isinstance(expected, Choice)
        assert name in expected.names
        self.check_pins(name, pins, expected, reply)
        lease = self.model.deployments[name].grant(token, now_ms, expected.is_last_resort)
        assert (reply[2], *MARKS[reply[3]]) == (lease.generation, lease.is_probe, lease.is_last_resort)
        self.holder[token] = name
        self.seen["last resort" if lease.is_last_resort else "probe" if lease.is_probe else "granted"] += 1

    def check_pins(self, name: str, pins: InForce, choice: Choice, reply: list[Any]) -> None:
        """A request names its session only, so each way to the same word leaves the same pins."""
        if not pins:
            assert len(reply) == 9
            return
        grants = choice.grants.get(name, {Grant("none")})
        [grant] = {Grant(grant.word) for grant in grants if grant.word == reply[9]}
        self.pins = self.model.pins = self.pins.after(pins, name, grant, self.time(reply))
        self.seen[grant.word] += 1

    def fail_on_deadline(self, name: str) -> Until:
        raise AssertionError(f"probes of {name} have a minute")

    def check_settle(self, arguments: list[str], reply: list[Any]) -> None:
        token, outcome, seed, now_ms = arguments[1], arguments[2], int(arguments[10]), reply[5]
        name = self.holder[token]
        lease, generation = self.model.deployments[name].leases.get(token), self.model.deployments[name].generation
        expected = self.model.settle(name, token, outcome, now_ms, drawn(seed, now_ms), kind=arguments[15])
        assert (reply[0] == 1, *reply[1:3]) == expected
        learned = arguments[17]
        if lease and learned.startswith("="):
            measure(self.model.deployments[name], float(learned[1:]))
        elif lease:
            self.pins.end(learned.split(), name)
        self.seen["measured" if learned.startswith("=") else "unpinned" if learned else ""] += 1
        self.seen["late" if lease and lease.generation != generation else "settled" if lease else "settled twice"] += 1
        self.seen["opened"] += reply[1] == "open" and reply[2] != generation

    def check_force(self, arguments: list[str], reply: list[Any]) -> None:
        action, name, ttl_ms, now_ms = arguments[1], arguments[3].removeprefix("why "), int(arguments[4]), reply[5]
        self.model.force(name, action, ttl_ms, now_ms)
        assert reply[:3] == ["ok", self.model.deployments[name].state, self.model.deployments[name].generation]
        self.seen["forced"] += 1

    def check_beat(self, arguments: list[str], reply: list[Any]) -> None:
        active, alive, is_known, dead = self.model.beat(arguments[1], reply[2])
        assert (reply[3], reply[4], reply[5], reply[7] == 1, set(reply[8])) == (1, active, alive, is_known, dead)
        rows = [reply[9][k : k + 9] for k in range(0, len(reply[9]), 9)]
        moved = [(position, model) for position, model in enumerate(self.model.deployments.values(), 1) if model.moves]
        assert [row[:3] for row in rows] == [[position, model.state, model.generation] for position, model in moved]
        assert [row[4] for row in rows] == [model.trips for _, model in moved]
        self.seen["beat"] += 1

    def homes(self) -> dict[str, str]:
        """The deployment of each pin."""
        return {each: name for each, (_, name, _) in self.pins.placed.items()}

    def time(self, reply: list[Any]) -> int:
        return int(reply[6 if reply[0] == "granted" else 5])


async def configured_domain(server: EmbeddedStore) -> str:
    domain = fresh_domain()
    async with opened_state(server.url, *configuration().deployments, domain=domain, is_configured=False) as state:
        state.store.policies.configuration = configuration()
        await state.store.policies.write()
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


async def check(server: EmbeddedStore, cli: RedisCli, processes: int, seconds: float) -> Counter[str]:
    domain = await configured_domain(server)
    notes = await asyncio.to_thread(history, server, domain, processes, seconds)
    first = sequence(notes[0])
    assert [sequence(note) for note in notes] == list(range(first, first + len(notes))), "a gap or a double"
    replay = Replay(first)
    for note in notes:
        replay.check(note)
    keys = Keys(domain)
    stored = cli.do("HGETALL", f"{keys.prefix}affinity:1")
    homes = {each.decode(): re.split("[ ?]", value.decode())[1] for each, value in stored.items()}
    assert homes == replay.homes()
    assert cli.do("ZCARD", keys.leases) == replay.model.active(replay.model.now_ms) == 0
    events = [fields for _, fields in cli.do("XRANGE", keys.events, "-", "+")]
    for name, model in replay.model.deployments.items():
        kept = [e for e in events if e[b"subject"] == name.encode() and e[b"reason"] != b"configured"]
        moves = [(e[b"from"].decode(), e[b"to"].decode(), int(e[b"generation"]), int(e[b"at_ms"])) for e in kept]
        assert moves == model.moves[len(model.moves) - len(moves) :]
    return replay.seen


COMMON = {
    "granted",
    "probe",
    "resent",
    "settled",
    "late",
    "settled twice",
    "opened",
    "open",
    "full",
    "beat",
    "forced",
    "left",
    "unsupported",
    "new",
    "pinned",
    "none",
    "measured",
    "unpinned",
    "moved(load)",
    "moved(open)",
    "moved(full)",
    "moved(recovering)",
}


async def check_until_seen(
    server: EmbeddedStore, cli: RedisCli, wanted: set[str], processes: int, seconds: float
) -> None:
    """Each history must be right; what a busy machine has no time for in one of them is seen in a further one."""
    seen: Counter[str] = Counter()
    for _ in range(HISTORIES_MOST):
        seen += await check(server, cli, processes, seconds)
        if seen.keys() >= wanted:
            return
    raise AssertionError(f"never seen in {HISTORIES_MOST} histories: {wanted - seen.keys()}")


@on_loop
async def test_history_of_four_processes_is_that_of_one_machine(server: EmbeddedStore, cli: RedisCli) -> None:
    await check_until_seen(server, cli, COMMON, 4, 1.5)


@pytest.mark.long
@on_loop
async def test_history_of_eight_processes_is_that_of_one_machine(server: EmbeddedStore, cli: RedisCli) -> None:
    await check_until_seen(server, cli, {*COMMON, "forced_open", "probing", "last resort"}, 8, 10)
