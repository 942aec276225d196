"""The part of `make affinity` over the wire: real replicas in front of fake providers that keep prompts, each of which
answers four times sooner where it knows the beginning. A report, not a test.
"""

import contextlib
import http.client
import json
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import CHAT, PATIENCE_S, ProviderProcess
from tests.support.cluster import ReplicaProcess, deployment, running_cluster, running_providers, running_store

SESSIONS, TURNS, DEPLOYMENTS, REPLICAS, DOCUMENTS = 12, 10, 4, 2, 4
FIRST_MS, CHUNKS, CHUNK_GAP_MS = 400, 10, 10  # of an answer whose prompt is not cached
DOCUMENT_BYTES, TURN_BYTES = 16_000, 8_000  # 4 of them are a token
BEGIN_EVERY_S, PAUSE_S = 0.3, 0.5  # between the begins of sessions, and on average between turns
PROMPTS_KEPT = 10_000
MODES = ("off", "session", "prefix")
HEAD = ("", "stayed", "cached", "first token, mean", "p50", "p99", "p99 of later turns", "turns by deployment")


@dataclass(frozen=True)
class Served:
    """One turn; ``has_stayed``: as the turn before, None for the first one."""

    deployment: str
    has_stayed: bool | None
    tokens: int
    cached: int
    first_ms: float


def text(name: str, size: int) -> str:
    return "".join(random.Random(name).choices("abcdefgh ", k=size))


def turn(
    replica: ReplicaProcess, session: str, messages: list[dict[str, str]]
) -> tuple[str, str, dict[str, Any], float]:
    """Returns the deployment, the answer, its usage and the ms to its first token."""
    fields = {"model": "gpt-4", "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    body, headers = json.dumps(fields), {"x-session-id": session, "content-type": "application/json"}
    with contextlib.closing(http.client.HTTPConnection(*replica.address, timeout=PATIENCE_S)) as connection:
        begun_s = time.monotonic()
        connection.request("POST", CHAT, body, headers)
        response = connection.getresponse()
        if response.status != 200:
            raise SystemExit(f"{replica.name} answered {response.status}: {response.read()!r}")
        first_s, words = 0.0, list[str]()
        usage: dict[str, Any] = {}
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            first_s = first_s or time.monotonic()
            event = json.loads(line.removeprefix(b"data: "))
            usage = event.get("usage") or usage
            words += [choice["delta"].get("content") or "" for choice in event["choices"]]
    return str(response.headers["x-pllm-deployment"]), "".join(words), usage, 1000 * (first_s - begun_s)


def conversation(replicas: Sequence[ReplicaProcess], mode: str, number: int) -> list[Served]:
    """One session; each of its turns reaches another replica."""
    chance, served = random.Random(number), list[Served]()
    messages = [{"role": "system", "content": text(f"{mode} document {number % DOCUMENTS}", DOCUMENT_BYTES)}]
    time.sleep(number * BEGIN_EVERY_S)
    for position in range(TURNS):
        messages.append({"role": "user", "content": text(f"{mode} {number} {position}", TURN_BYTES)})
        replica = replicas[(number + position) % len(replicas)]
        name, answer, usage, first_ms = turn(replica, f"session-{number}", messages)
        messages.append({"role": "assistant", "content": answer})
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        has_stayed = served[-1].deployment == name if served else None
        served.append(Served(name, has_stayed, usage["prompt_tokens"], cached, first_ms))
        time.sleep(chance.uniform(0.5, 1.5) * PAUSE_S)
    return served


def measured(store: EmbeddedStore, providers: Sequence[ProviderProcess], mode: str) -> list[Served]:
    models = [deployment(f"gpt-4-{k}", provider) for k, provider in enumerate(providers)]
    options: dict[str, Any] = {"domain": f"affinity-{mode}", "replicas": REPLICAS}
    with (
        running_cluster(store, providers, models, router={"affinity": {"mode": mode}}, **options) as cluster,
        ThreadPoolExecutor(SESSIONS) as pool,
    ):
        cluster.wait_for_beats(2)
        found = [pool.submit(conversation, cluster.replicas, mode, number) for number in range(SESSIONS)]
        return [each for future in found for each in future.result()]


def line(mode: str, turns: list[Served]) -> str:
    later = [each.has_stayed for each in turns if each.has_stayed is not None]
    first_ms = sorted(each.first_ms for each in turns)
    later_ms = sorted(each.first_ms for each in turns if each.has_stayed is not None)
    counts = [sum(each.deployment == f"gpt-4-{k}" for each in turns) for k in range(DEPLOYMENTS)]
    cells = [
        f"`{mode}`",
        f"{sum(later) / len(later):.1%}",
        f"{sum(each.cached for each in turns) / sum(each.tokens for each in turns):.0%}",
        f"{sum(first_ms) / len(first_ms):,.0f} ms",
        f"{first_ms[len(first_ms) // 2]:,.0f} ms",
        f"{first_ms[int(0.99 * len(first_ms))]:,.0f} ms",
        f"{later_ms[int(0.99 * len(later_ms))]:,.0f} ms",
        ", ".join(map(str, sorted(counts, reverse=True))),
    ]
    return f"| {' | '.join(cells)} |"


def report() -> str:
    lines = [f"| {' | '.join(HEAD)} |", "|---" + "|---:" * (len(HEAD) - 1) + "|"]
    before = os.getloadavg()[0]
    with running_store() as store, running_providers(DEPLOYMENTS) as providers:
        for provider in providers:
            provider.behave(latency_ms=FIRST_MS, chunks=CHUNKS, chunk_gap_ms=CHUNK_GAP_MS, prompt_cache=PROMPTS_KEPT)
        for mode in MODES:
            lines.append(line(mode, measured(store, providers, mode)))
    load = f"The machine had {os.cpu_count()} cores and a load average of {before:.1f} before the run."
    return "\n".join([*lines, "", load, ""])
