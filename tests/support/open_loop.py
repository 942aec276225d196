"""Load whose arrivals do not wait for answers: each request is sent when its time has come, whatever became of the ones
before. Latency counts from that time.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import aiohttp


class Load(NamedTuple):
    """So many requests a second, evenly spaced, with these headers; to one replica ``only``, or to all in turn."""

    name: str
    rate: float
    headers: dict[str, str]
    only: int | None = None


class Arrived(NamedTuple):
    load: str
    planned_s: float
    status: int
    latency_s: float


async def _one(session: aiohttp.ClientSession, url: str, load: Load, model: str, planned_s: float) -> Arrived:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    status = 0
    try:
        async with session.post(url, json=body, headers=load.headers) as answer:
            await answer.read()
            status = answer.status
    except aiohttp.ClientError:
        pass  # 0: no answer
    return Arrived(load.name, planned_s, status, time.monotonic() - planned_s)


async def _run(urls: Sequence[str], model: str, loads: Sequence[Load], seconds: float) -> list[Arrived]:
    connector = aiohttp.TCPConnector(limit=0)
    began = time.monotonic()
    planned = [(began + number / load.rate, load) for load in loads for number in range(int(load.rate * seconds))]
    planned.sort(key=lambda pair: pair[0])
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60)) as session:
        tasks = []
        for number, (at_s, load) in enumerate(planned):
            if (ahead_s := at_s - time.monotonic()) > 0:
                await asyncio.sleep(ahead_s)
            replica = number % len(urls) if load.only is None else load.only
            url = f"{urls[replica]}/v1/chat/completions"
            tasks.append(asyncio.create_task(_one(session, url, load, model, at_s)))
        return list(await asyncio.gather(*tasks))


def arrive(urls: Sequence[str], model: str, loads: Sequence[Load], seconds: float) -> list[Arrived]:
    """All that arrived in this time, with what became of it."""
    return asyncio.run(_run(urls, model, loads, seconds))
