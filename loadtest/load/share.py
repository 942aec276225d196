"""One process's share of a run: warm-up, then its share of the calls."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from loadtest.load.client import Client
from loadtest.load.flags import Options
from loadtest.load.measure import Sample
from loadtest.load.requests import Target
from loadtest.load.runner import Load, Runner

SEEDS_APART = 7919  # any distance that users' own seeds are unlikely to have


class ProcessShare:
    """The share of one process. Use it as an async context manager."""

    def __init__(self, options: Options, observe: Callable[[Sample], None]) -> None:
        load = options.load
        self._load, self._warmup_s = load, options.warmup_s
        self._client = Client(options.target, load.concurrent, load.seed + SEEDS_APART * load.share[0])
        self.runner = Runner(self._client.call, observe, options.slo)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def warm_up(self) -> None:
        if self._warmup_s:
            has_shape = self._load.arrivals in ("ramp", "spike")
            arrivals = "constant" if has_shape else self._load.arrivals
            load = msgspec.structs.replace(self._load, duration_s=self._warmup_s, requests=None, arrivals=arrivals)
            await Runner(self._client.call, ignore).run(load)

    async def measure(self, began_s: float | None = None) -> None:
        await self.runner.run(self._load, began_s)


def ignore(_sample: Sample) -> None:
    pass


def render_sample(sample: Sample) -> str:
    ending = sample.failure or ("given up" if sample.is_given_up else "ok")
    return f"{ending}  {sample.total_ms:.1f} ms  {sample.tokens} tokens  {sample.deployment or sample.url}"


def share_out(options: Options) -> list[Options]:
    """Returns the options of each process. An open loop has the same plan in all, and each process takes its turns."""
    shares = []
    for number in range(options.processes):
        load, target = _share_load(options.load, number, options.processes), _turn(options.target, number)
        shares.append(msgspec.structs.replace(options, load=load, target=target, processes=1))
    return shares


def _share_load(load: Load, number: int, of: int) -> Load:
    requests = load.requests
    if requests is not None and load.rate is None:
        requests = _even_share(requests, number, of)
    concurrent = _even_share(load.concurrent, number, of)
    return msgspec.structs.replace(load, concurrent=concurrent, requests=requests, share=(number, of))


def _even_share(amount: int, number: int, of: int) -> int:
    return amount // of + (number < amount % of)


def _turn(target: Target, number: int) -> Target:
    """Rotates the addresses, so that each process begins with another one."""
    first = number % len(target.urls)
    return msgspec.structs.replace(target, urls=(*target.urls[first:], *target.urls[:first]))
