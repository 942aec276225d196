"""`make stages`: what a request, its acquire and its settle, costs the store in microseconds of CPU: a report.

The first table has the cost by the number of candidates and by form: `FCALL` of a library, `EVALSHA` of a script. The
sizes take turns, so that a busy machine does not favour one. The second has the share of each include of the library
in Lua, without what it calls, and of each command: the functions are timed where they run, so small ones look larger
than they are. Arguments: `--redis` for redis-server instead of Valkey, `--seconds` for the length of the measurement.
"""

import argparse
import asyncio
import random
import re
import shutil
import socket
import statistics
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import hiredis
import msgspec

from shared_state.calls import replies
from shared_state.calls.script_calls import ScriptCalls
from shared_state.connection.commands import as_script, command
from shared_state.embedded import EmbeddedStore
from shared_state.keys import Keys
from shared_state.policies import Configuration
from shared_state.records import Ask, Ending, Outcome, Permit
from shared_state.scripts import Script, Source, assemble_all, bundle, libraries, names, read_source
from tests.support.state import deployment_policy, router_policy

SIZES, DEPTH, BATCH, TURN_S = (3, 10, 16), 20, 10, 0.25
_FIRST_SENDING = b"$1\r\n0\r\n$1\r\n1\r\n"  # of an acquire: not resent, on the first connection
_FUNCTION = re.compile(r"^local function (\w+)\((?:[^\n]* end|.*?\nend)\n", re.MULTILINE | re.DOTALL)
_TIMED = """
local costs, stack, depth = remembered_by_all, {}, 0
local function timed_enter(label)
  depth = depth + 1
  stack[depth] = stack[depth] or {}
  local frame = stack[depth]
  frame.label, frame.inside, frame.began = label, 0, os.clock()
end
local function timed_leave(...)
  local frame = stack[depth]
  local took = os.clock() - frame.began
  depth = depth - 1
  costs[frame.label] = (costs[frame.label] or 0) + took - frame.inside
  if depth > 0 then stack[depth].inside = stack[depth].inside + took end
  return ...
end
local function timed(label, call)
  return function(...)
    timed_enter(label)
    return timed_leave(call(...))
  end
end
local function timed_call(name, ...)
  timed_enter('cmd ' .. name)
  return timed_leave(redis.call(name, ...))
end
"""
_REPORT = """
local report = {}
for label, took in pairs(remembered) do
  if type(took) == 'number' then report[#report + 1], report[#report + 2] = label, tostring(took) end
end
for label in pairs(remembered) do if type(remembered[label]) == 'number' then remembered[label] = 0 end end
return report
"""


def timed_scripts() -> dict[str, Script]:
    """Returns the scripts with clocks in the library of the decisions."""
    sources = [read_source(name) for name in names()]
    timed = [_timed(each) if each.library == "decisions" else each for each in sources]
    remembered = {"store/remembered": read_source("acquire").includes["store/remembered"]}
    return bundle([*timed, Source("costs", _REPORT, remembered, "decisions")])


def _timed(source: Source) -> Source:
    def clocked(name: str, text: str) -> str:
        text = _FUNCTION.sub(lambda found: f"{found[0]}{found[1]} = timed('{name}', {found[1]})\n", text)
        return text.replace("redis.call(", "timed_call(")

    includes = {"timed": _TIMED} | {name: clocked(name, text) for name, text in source.includes.items()}
    body = f"timed_enter('{source.name}.lua')\nreturn timed_leave((function()\n{source.body}end)())\n"
    return msgspec.structs.replace(source, includes=includes, body=body.replace("redis.call(", "timed_call("))


class Traffic:
    """Requests on one domain of ``size`` candidates, with a steady number in flight. ``done``: requests so far."""

    def __init__(self, store: EmbeddedStore, scripts: Mapping[str, Script], size: int, is_library: bool) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(store.socket))
        self._reader = hiredis.Reader()
        self._shas = {} if is_library else {each.function.encode(): each.sha.encode() for each in scripts.values()}
        for library in libraries(scripts.values()):
            self.send(command(b"FUNCTION", b"LOAD", b"REPLACE", library.text.encode()))
        for script in scripts.values():
            self.send(command(b"SCRIPT", b"LOAD", script.text.encode()))
        self._calls = ScriptCalls(scripts, Keys(f"{size}-{is_library}"))
        ids = [f"deployment-{k}" for k in range(size)]
        policies = tuple(deployment_policy(each, latency_threshold_ms=None) for each in ids)
        for packed in self._calls.configure(Configuration(1, router_policy(max_active=10_000), policies)):
            self.send(packed)
        self._plan = self._calls.plan([(each, 0) for each in ids], "adaptive")
        self._ask, self._draw = Ask(50, False, 1, 10, kind="chat"), random.Random(1).randrange
        self._live: list[Permit] = []
        self.done = 0
        while len(self._live) < DEPTH:
            self._turn(0)
        self.run(TURN_S)

    def send(self, *packed: bytes) -> list[Any]:
        self._socket.sendall(b"".join([as_script(each, self._shas) for each in packed]))
        found: list[Any] = []
        while len(found) < len(packed):
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(1_048_576))
                continue
            assert not isinstance(reply, Exception), reply
            found.append(reply)
        return found

    def _turn(self, ends: int = BATCH) -> None:
        tokens = [f"r1.plain.{self.done + k:x}" for k in range(BATCH)]
        asked = [self._calls.acquire(self._plan, token, self._ask) + _FIRST_SENDING for token in tokens]
        ended, self._live = self._live[:ends], self._live[ends:]
        latencies = [self._draw(200, 900) for _ in ended]
        settled = [
            self._calls.settle(permit, Ending(Outcome.SUCCESS, ms, 9, tokens=18))
            for permit, ms in zip(ended, latencies, strict=True)
        ]
        for token, reply in zip(tokens, self.send(*asked, *settled), strict=False):
            decision = replies.acquired(reply, token, self._ask, self._plan.ids)
            assert isinstance(decision, Permit), decision
            self._live.append(decision)
        self.done += BATCH

    def run(self, seconds: float) -> None:
        ends_s = time.monotonic() + seconds
        while time.monotonic() < ends_s:
            self._turn()

    def cpu_us(self) -> float:
        """Returns the CPU time of the store's main thread."""
        [info] = self.send(command(b"INFO", b"cpu"))
        found = dict(re.findall(r"used_cpu_(\w+)_main_thread:([\d.]+)", info.decode()))
        return 1e6 * (float(found["sys"]) + float(found["user"]))

    def measure(self, seconds: float) -> float:
        """Returns the µs of a request."""
        before, done = self.cpu_us(), self.done
        self.run(seconds)
        return (self.cpu_us() - before) / (self.done - done)


def by_size(store: EmbeddedStore, seconds: float) -> None:
    scripts = assemble_all()
    traffics = {(form, size): Traffic(store, scripts, size, form) for form in (True, False) for size in SIZES}
    turns = [{key: each.measure(TURN_S) for key, each in traffics.items()} for _ in range(max(3, int(seconds)))]
    print(
        "\n| a request's acquire and settle in the store | " + " | ".join(f"{size} candidates" for size in SIZES) + " |"
    )
    print("|" + (1 + len(SIZES)) * "---|")
    for form, name in ((True, "FCALL"), (False, "EVALSHA")):
        costs = [statistics.median(turn[form, size] for turn in turns) for size in SIZES]
        print(
            f"| {name} | " + " | ".join(f"{cost:.0f} µs, {cost / costs[0]:.2f} x" for cost in costs) + " |", flush=True
        )


def by_include(store: EmbeddedStore, seconds: float) -> None:
    scripts = timed_scripts()
    traffic = Traffic(store, scripts, SIZES[0], True)
    read = command(b"FCALL", scripts["costs"].function.encode(), b"0")
    traffic.send(read)
    done = traffic.done
    traffic.run(seconds)
    [row] = traffic.send(read)
    costs = Counter({row[k].decode(): float(row[k + 1]) for k in range(0, len(row), 2)})
    print(f"\n| timed with clocks, {SIZES[0]} candidates: include, script or command | µs a request |\n|---|---|")
    for label, took_s in costs.most_common():
        if (cost := took_s * 1e6 / (traffic.done - done)) >= 0.05:
            print(f"| {label} | {cost:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.store_costs", description=__doc__)
    parser.add_argument("--redis", action="store_true")
    parser.add_argument("--seconds", type=float, default=8)
    arguments = parser.parse_args()
    store = EmbeddedStore(shutil.which("redis-server") if arguments.redis else None)
    asyncio.run(store.start())
    try:
        by_size(store, arguments.seconds)
        by_include(store, arguments.seconds / 2)
    finally:
        store.stop()


if __name__ == "__main__":
    main()
