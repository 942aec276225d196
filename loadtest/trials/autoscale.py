"""A surge and its decay against a cluster that follows its own autoscaling signal: real replicas start and stop as
`GET /v1/admin/autoscale` requests. Prints each change; `--plot FILE` draws the run. Exit code 1 when the curve of
desired replicas changed its direction more than once.
"""

import argparse
import asyncio
import contextlib
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiohttp
import msgspec
import uvloop

from loadtest.cluster.local_cluster import LocalCluster
from loadtest.cluster.programs import EMPTY_CALL
from loadtest.cluster.scenario import Scenario
from loadtest.report.charts import COLOURS, RED, Line, Panel, draw_timeline

REPLICAS_MOST, SEED = 5, 1
LATENCY_MS = 500
# Seconds, and calls per second at their end, with straight lines in between. Half as many calls are active on average.
COURSE = ((8, 8), (20, 70), (36, 70), (51, 8), (75, 8))
OUT_OF_TURN_S = 0.5  # between a replica's last call and its SIGTERM, as with a load balancer
CALL_MOST_S = 30.0
AUTOSCALE = {
    "target_concurrency": 10,
    "utilization": 0.8,
    "min_replicas": 1,
    "max_replicas": REPLICAS_MOST,
    "scale_down_delay": "8s",
}
SCENARIO = Scenario(
    title="A surge and its decay",
    load="",
    providers={
        "azure": {"latency_ms": LATENCY_MS, "latency_distribution": "lognormal"},
        "openai": {"latency_ms": LATENCY_MS, "latency_distribution": "lognormal"},
    },
    replicas=REPLICAS_MOST,
    server={"drain_timeout": "10s"},
    router={"autoscale": AUTOSCALE, "latency_threshold": "10s"},
)


class Inputs(msgspec.Struct):
    active_requests: int
    waiting_requests: int
    replicas: int
    average: float


class Signal(msgspec.Struct):
    desired_replicas: int
    wanted_replicas: int
    reason: str
    inputs: Inputs


class Moment(msgspec.Struct):
    """One second."""

    rate: float
    signal: Signal | None
    in_turn: int  # number of replicas that get calls
    ok: int = 0
    failed: int = 0


def rate_at(second: float) -> float:
    course = [(0, COURSE[0][1]), *COURSE]
    for (begin, first), (end, last) in itertools.pairwise(course):
        if second < end:
            return first + (last - first) * (second - begin) / (end - begin)
    return COURSE[-1][1]


def turns(curve: Sequence[int]) -> int:
    """Returns how often the curve changes its direction."""
    steps = [after - before for before, after in itertools.pairwise(curve) if after != before]
    return sum((before > 0) != (after > 0) for before, after in itertools.pairwise(steps))


class Run:
    """One run. ``turn``: the replicas that get calls, by number from 0."""

    def __init__(self, cluster: LocalCluster, http: aiohttp.ClientSession) -> None:
        self._cluster = cluster
        self._http = http
        self._requests = itertools.count()
        self.turn = [0]
        self.moments = [Moment(rate_at(0), None, 1)]

    async def follow(self) -> None:
        """Runs the load to its end and starts and stops replicas."""
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            calls = tasks.create_task(self._call_all(began_s, tasks))
            for second in range(1, COURSE[-1][0] + 1):
                await asyncio.sleep(max(0.0, began_s + second - time.monotonic()))
                signal = await self._fetch_signal()
                await self._scale(signal, tasks)
                self.moments.append(Moment(rate_at(second), signal, len(self.turn)))
            await calls

    async def _call_all(self, began_s: float, tasks: asyncio.TaskGroup) -> None:
        """Makes calls like independent callers: gaps are drawn for the rate of the moment."""
        draw, due_s = random.Random(SEED), 0.0
        while due_s < COURSE[-1][0]:
            due_s += draw.expovariate(rate_at(due_s))
            await asyncio.sleep(max(0.0, began_s + due_s - time.monotonic()))
            tasks.create_task(self._call())

    async def _call(self) -> None:
        """Calls the next replica in turn, or another one where none listens, as load balancers do."""
        number, is_ok = next(self._requests), False
        for position in range(REPLICAS_MOST):
            url = self._cluster.urls[self.turn[(number + position) % len(self.turn)]]
            try:
                async with self._http.post(url, data=EMPTY_CALL) as answer:
                    await answer.read()
                    is_ok = answer.status == 200
                break
            except aiohttp.ClientConnectorError:
                continue
            except (aiohttp.ClientError, TimeoutError):
                break
        moment = self.moments[-1]
        moment.ok, moment.failed = moment.ok + is_ok, moment.failed + (not is_ok)

    async def _fetch_signal(self) -> Signal | None:
        """Returns the signal from any replica, because all return the same."""
        url = self._cluster.urls[self.turn[next(self._requests) % len(self.turn)]].replace(
            "/v1/chat/completions", "/v1/admin/autoscale"
        )
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.get(url) as answer:
                if answer.status == 200:
                    return msgspec.json.decode(await answer.read(), type=Signal)
        return None

    async def _scale(self, signal: Signal | None, tasks: asyncio.TaskGroup) -> None:
        if signal is None:
            return
        for number in range(REPLICAS_MOST):
            name = f"replica-{number + 1}"
            if number < signal.desired_replicas and number not in self.turn:
                if self._cluster.has_ended(name):
                    await asyncio.to_thread(self._cluster.start, name)
                if await self._is_ready(number):
                    self.turn.append(number)
            elif number >= signal.desired_replicas and number in self.turn:
                self.turn.remove(number)
                tasks.create_task(self._stop(name))

    async def _stop(self, name: str) -> None:
        await asyncio.sleep(OUT_OF_TURN_S)
        self._cluster.stop(name)

    async def _is_ready(self, number: int) -> bool:
        url = self._cluster.urls[number].replace("/v1/chat/completions", "/readyz")
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.get(url) as answer:
                return answer.status == 200
        return False


def render(moments: Sequence[Moment]) -> Iterator[str]:
    """Yields a Markdown table with a row for each change, and the verdict."""
    yield "| after | calls/s | active | average | the load asks for | desired | alive | in turn | why |"
    yield "|---|---|---|---|---|---|---|---|---|"
    before: tuple[int, int] | None = None
    for second, moment in enumerate(moments):
        signal = moment.signal
        if signal is None or before == (before := (signal.desired_replicas, moment.in_turn)):
            continue
        known = signal.inputs
        cells = [f"{second} s", f"{moment.rate:.0f}", known.active_requests, f"{known.average:.1f}"]
        cells += [signal.wanted_replicas, signal.desired_replicas, known.replicas, moment.in_turn, signal.reason]
        yield f"| {' | '.join(map(str, cells))} |"
    ok, failed = sum(moment.ok for moment in moments), sum(moment.failed for moment in moments)
    wanted, desired = _turns(moments)
    yield f"\n{ok:,} calls answered, {failed:,} failed."
    yield f"Desired replicas changed direction {desired} time(s); what the load alone asks for, {wanted} times."


def _turns(moments: Sequence[Moment]) -> tuple[int, int]:
    signals = [moment.signal for moment in moments if moment.signal is not None]
    return turns([each.wanted_replicas for each in signals]), turns([each.desired_replicas for each in signals])


def draw(moments: Sequence[Moment]) -> str:
    signals = [moment.signal for moment in moments]
    load = [
        Line("calls per second", COLOURS[7], [moment.rate for moment in moments]),
        Line("active requests", COLOURS[1], [each.inputs.active_requests if each else None for each in signals]),
        Line("their average", COLOURS[2], [each.inputs.average if each else None for each in signals]),
    ]
    replicas = [
        Line("the load asks for", COLOURS[2], [each.wanted_replicas if each else None for each in signals]),
        Line("desired", COLOURS[0], [each.desired_replicas if each else None for each in signals]),
        Line("in turn", COLOURS[1], [moment.in_turn for moment in moments]),
    ]
    answers = [
        Line("ok", COLOURS[0], [moment.ok for moment in moments]),
        Line("failed", RED, [moment.failed for moment in moments]),
    ]
    panels = [
        Panel(title="load", lines=load),
        Panel(title="replicas", lines=replicas),
        Panel(title="answers per second", lines=answers),
    ]
    return draw_timeline(SCENARIO.title, panels, [], len(moments))


async def observe(cluster: LocalCluster) -> Sequence[Moment]:
    limits = aiohttp.ClientTimeout(total=CALL_MOST_S)
    headers = {"content-type": "application/json"}
    # A new connection for each call: a kept one could close under a call when its replica stops.
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=limits, headers=headers) as http:
        run = Run(cluster, http)
        await run.follow()
        return run.moments


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtest.trials.autoscale", description=__doc__)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draws the run there")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, LocalCluster(SCENARIO, Path(folder), begins_with=1) as cluster:
        moments = uvloop.run(observe(cluster))
    print("\n".join(render(moments)))
    if options.plot is not None:
        options.plot.write_text(draw(moments), encoding="utf-8")
    return 1 if _turns(moments)[1] > 1 else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
