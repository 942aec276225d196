"""What clients get from a slow, a small, a stopped and a killed provider, without the gateway and through it.
`make side-by-side` prints the table.

One deployment, default settings. The client retries nothing, so that the table shows what is sent to it.
"""

import argparse
import contextlib
import http.client
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec

from loadtest.answers import StreamReader, judge_error
from loadtest.bench_parts import free_port, wait_for
from loadtest.recoveries import WAYS, control, gateway

BODY = msgspec.json.encode({"model": "model-0", "stream": True, "messages": [{"role": "user", "content": "hi"}]})
TIMEOUT_S = 60.0
CALLS_MOST = 500  # threads: calls under way at once


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
        """From then until the last call that failed was due, 0 if all later calls were served; None without trouble."""
        if self.healthy_s is None:
            return None
        return max([0.0, *(each.due_s - self.healthy_s for each in self.answers if each.failure is not None)])


class Provider:
    """The fake provider as a process that can be killed and started again on its port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.start()

    def start(self) -> None:
        command = (sys.executable, "-m", "loadtest.provider", "--port", str(self.port))
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.port, self._process)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def behave(self, **patch: Any) -> None:
        control(self.port, "/control", patch, "PATCH")


def call(port: int, due_s: float) -> Answer:
    """One stream, read to its end."""
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
    """Steady calls in an open loop while the trouble begins and ends."""
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


SCENARIOS: dict[str, Callable[[Provider, int, Pace], Run]] = {
    "thinking model, one stream after the other": thinking_in_turn,
    "thinking model, streams at once": thinking_at_once,
    "engine with two slots": two_slots,
    "provider stopped and continued": stopped,
    "provider killed and restarted": killed,
}


@contextlib.contextmanager
def surroundings(way: str) -> Iterator[tuple[Provider, int]]:
    """A provider, and the port at which clients call it."""
    provider = Provider(free_port())
    try:
        if way == "direct":
            yield provider, provider.port
        else:
            with gateway(provider.port, "chat", 1) as port:
                yield provider, port
    finally:
        provider.send(signal.SIGCONT)
        provider.kill()


def run(name: str, pace: Pace, way: str) -> Run:
    with surroundings(way) as (provider, port):
        return SCENARIOS[name](provider, port, pace)


def row(name: str, way: str, found: Run) -> str:
    failures = Counter(answer.failure for answer in found.answers if answer.failure)
    others = ", ".join(f"{count} × {failure}" for failure, count in failures.most_common()) or "–"
    recovered_s = "–" if found.recovered_s is None else f"{found.recovered_s:.1f} s"
    longest_s = max(answer.seconds for answer in found.answers)
    return f"| {name} | {way} | {found.served} of {len(found.answers)} | {longest_s:.1f} s | {recovered_s} | {others} |"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.side_by_side", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter, to see that it works")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), help="only this one")
    options = parser.parse_args(arguments)
    pace = QUICK if options.quick else Pace()
    print("| scenario | way | served | longest call | all served again after | the others got |")
    print("|---|---|---|---|---|---|")
    for name in options.scenario or SCENARIOS:
        with ThreadPoolExecutor(len(WAYS)) as pool:
            for way, found in zip(WAYS, pool.map(partial(run, name, pace), WAYS), strict=True):
                print(row(name, way, found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
