"""Measures what clients get from a slow, a small, a stopped and a killed provider, with and without the gateway.
`make side-by-side` prints the table.

One deployment, default settings. The client retries nothing, so the table shows what it receives. llama.cpp comes from
its package into .peers/; its rows are left out where the package cannot be installed.
"""

import argparse
import contextlib
import functools
import http.client
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec

from loadtest.cluster.packages import PackageTrouble, install
from loadtest.cluster.programs import free_port
from loadtest.load.answers import StreamReader, judge_error
from loadtest.trials.engine import LLAMA, Llama, Provider
from loadtest.trials.recoveries import WAYS, gateway, measured

BODY = msgspec.json.encode({"model": "model-0", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
TIMEOUT_S = 60.0
CALLS_MOST = 500  # threads: calls in progress at once


class Pace(msgspec.Struct, frozen=True):
    think_ms: float = 3000
    streams: int = 8
    clients: int = 16
    chunk_gap_ms: float = 100
    per_s: float = 10
    before_s: float = 3
    down_s: float = 5
    after_s: float = 15


QUICK = Pace(think_ms=500, streams=2, clients=4, chunk_gap_ms=20, before_s=1, down_s=1, after_s=4)
LLAMA_PACE = Pace(per_s=1)  # an answer occupies its slot for a second
LLAMA_QUICK = Pace(clients=2, per_s=1, before_s=1, down_s=1, after_s=4)
ABOUT = """\
# Direct beside through

`make side-by-side` writes this. One deployment, default settings; the client retries nothing, so that the table shows
what is sent to it. The thinking model takes 3 s to its first content. The engines have two slots and 16 clients, each
of which makes two calls. A provider is stopped, or killed, for 5 s under steady calls. llama.cpp is a real engine with
a model of random weights, on the same cores as its clients.
"""
HEAD = (
    "| scenario | way | served | longest call | all served again after | the others got |",
    "|---|---|---|---|---|---|",
)


class Answer(msgspec.Struct, frozen=True):
    due_s: float
    ended_s: float
    failure: str | None

    @property
    def seconds(self) -> float:
        return self.ended_s - self.due_s


class Run(msgspec.Struct, frozen=True):
    answers: list[Answer]
    healthy_s: float | None = None
    """When the provider was able to serve again."""

    @property
    def served(self) -> int:
        return sum(answer.failure is None for answer in self.answers)

    @property
    def recovered_s(self) -> float | None:
        """Time from ``healthy_s`` until the last failed call was due, 0 if all later calls were served; None without an
        outage.
        """
        if self.healthy_s is None:
            return None
        return max([0.0, *(each.due_s - self.healthy_s for each in self.answers if each.failure is not None)])


def call(port: int, due_s: float) -> Answer:
    """Reads one stream to its end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", "/v1/chat/completions", BODY, {"content-type": "application/json"})
        response = connection.getresponse()
        body = response.read()
        failure: str | None = None
        if response.status == 200:
            reader = StreamReader()
            reader.feed(body)
            failure = reader.judge().failure
        else:
            failure = judge_error(response.status, body)
    except (OSError, http.client.HTTPException) as error:
        failure = type(error).__name__
    finally:
        connection.close()
    return Answer(due_s, time.monotonic(), failure)


def in_turn(port: int, count: int) -> list[Answer]:
    return [call(port, time.monotonic()) for _ in range(count)]


def thinking_in_turn(provider: Provider, port: int, pace: Pace) -> Run:
    provider.behave(latency_ms=pace.think_ms)
    return Run(in_turn(port, pace.streams))


def thinking_at_once(provider: Provider, port: int, pace: Pace) -> Run:
    provider.behave(latency_ms=pace.think_ms)
    with ThreadPoolExecutor(pace.streams) as pool:
        return Run([each for part in pool.map(lambda _: in_turn(port, 1), range(pace.streams)) for each in part])


def two_slots(provider: Provider, port: int, pace: Pace) -> Run:
    provider.behave(slots=2, chunk_gap_ms=pace.chunk_gap_ms)
    with ThreadPoolExecutor(pace.clients) as pool:
        return Run([each for part in pool.map(lambda _: in_turn(port, 2), range(pace.clients)) for each in part])


def stopped(provider: Provider, port: int, pace: Pace) -> Run:
    return troubled(port, pace, lambda: provider.send(signal.SIGSTOP), lambda: provider.send(signal.SIGCONT))


def killed(provider: Provider, port: int, pace: Pace) -> Run:
    return troubled(port, pace, provider.kill, provider.start)


def troubled(port: int, pace: Pace, begin: Callable[[], None], end: Callable[[], None]) -> Run:
    """Makes steady calls in an open loop while an outage begins and ends."""
    steps = [(pace.before_s, begin), (pace.before_s + pace.down_s, end)]
    began_s, healthy_s = time.monotonic(), 0.0
    answers: list[Future[Answer]] = []
    with ThreadPoolExecutor(CALLS_MOST) as pool, ThreadPoolExecutor(1) as breaking:
        ended: Future[None] | None = None
        while not healthy_s or time.monotonic() < healthy_s + pace.after_s:
            due_s = began_s + len(answers) / pace.per_s
            time.sleep(max(0.0, due_s - time.monotonic()))
            if steps and due_s - began_s >= steps[0][0]:
                ended = breaking.submit(steps.pop(0)[1])
            if ended is not None and not steps and not healthy_s and ended.done():
                ended.result()
                healthy_s = time.monotonic()
            answers.append(pool.submit(call, port, due_s))
        return Run([answer.result() for answer in answers], healthy_s)


class Scenario(msgspec.Struct, frozen=True):
    run: Callable[[Provider, int, Pace], Run]
    is_real: bool = False
    """On llama.cpp. The ways run one after the other, because an engine uses all CPU that it gets."""


SCENARIOS = {
    "thinking model, one stream after the other": Scenario(thinking_in_turn),
    "thinking model, streams at once": Scenario(thinking_at_once),
    "engine with two slots": Scenario(two_slots),
    "provider stopped and continued": Scenario(stopped),
    "provider killed and restarted": Scenario(killed),
    "llama.cpp with two slots": Scenario(two_slots, is_real=True),
    "llama.cpp stopped and continued": Scenario(stopped, is_real=True),
    "llama.cpp killed and restarted": Scenario(killed, is_real=True),
}


@contextlib.contextmanager
def provider_of(way: str, start: Callable[[int], Provider] = Provider) -> Iterator[tuple[Provider, int]]:
    """Yields a provider, and the port at which clients call it."""
    provider = start(free_port())
    try:
        if way == "direct":
            yield provider, provider.port
        else:
            with gateway(provider.port, "chat", 1) as port:
                yield provider, port
    finally:
        provider.send(signal.SIGCONT)
        provider.kill()


def run(name: str, pace: Pace, way: str, start: Callable[[int], Provider] = Provider) -> Run:
    with provider_of(way, start) as (provider, port):
        return SCENARIOS[name].run(provider, port, pace)


def row(name: str, way: str, found: Run) -> str:
    failures = Counter(answer.failure for answer in found.answers if answer.failure)
    others = ", ".join(f"{count} × {failure}" for failure, count in failures.most_common()) or "–"
    recovered_s = "–" if found.recovered_s is None else f"{found.recovered_s:.1f} s"
    longest_s = max(answer.seconds for answer in found.answers)
    return f"| {name} | {way} | {found.served} of {len(found.answers)} | {longest_s:.1f} s | {recovered_s} | {others} |"


def rows(name: str, is_quick: bool, home: Path | None) -> Iterator[str]:
    """Yields the rows of a scenario. ``home``: the folder of llama.cpp."""
    start: Callable[[int], Provider] = Provider
    pace = QUICK if is_quick else Pace()
    if SCENARIOS[name].is_real:
        assert home is not None
        start, pace = functools.partial(Llama, home=home), LLAMA_QUICK if is_quick else LLAMA_PACE
    with ThreadPoolExecutor(1 if SCENARIOS[name].is_real else len(WAYS)) as pool:
        for way, found in zip(WAYS, pool.map(lambda way: run(name, pace, way, start), WAYS), strict=True):
            yield row(name, way, found)


def llama_home(names: Sequence[str]) -> tuple[Path | None, str]:
    """Returns the folder of llama.cpp if a scenario needs it, and the reason if it cannot be installed."""
    if not any(SCENARIOS[name].is_real for name in names):
        return None, ""
    try:
        return install(LLAMA).resolve(), ""
    except PackageTrouble as trouble:
        return None, f"{LLAMA.title} is left out: {trouble}."


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.trials.side_by_side", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run that checks that all works; no file")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="only this one; no file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there")
    options = parser.parse_args(arguments)
    names = options.scenario or list(SCENARIOS)
    home, note = llama_home(names)
    lines = [f"{measured()} {note}".rstrip(), "", *HEAD]
    print("\n".join(lines), flush=True)
    for name in names:
        if home is not None or not SCENARIOS[name].is_real:
            for line in rows(name, options.quick, home):
                print(line, flush=True)
                lines.append(line)
    if options.out and not (options.quick or options.scenario):
        options.out.write_text("\n".join((ABOUT, *lines)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
