"""What clients of the compose file's cluster see: plain requests, streams, and what the official client makes of it."""

import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from openai import OpenAI, OpenAIError

ROOT = Path(__file__).resolve().parents[2]
PORT = 18080
URL = f"http://127.0.0.1:{PORT}"
KEYS = {name: secrets.token_hex(24) for name in ("PLLM_ADMIN_KEY", "PLLM_API_KEY")}
RATE, STREAM_RATE = 30, 10  # a second
SETTLE_S = 3.0  # of load before and after what is done
PATIENCE_S = 120.0
IN_HAND = {"answer cut", "disconnected before an answer", "502 replica_lost"}  # how such a request ends
IN_HAND_S = 1.0  # after the replica's death: the balancer tells its clients at once


class Seen(NamedTuple):
    """What the clients of one scenario saw. ``failed_at_s``: since 1970, to the second in which each failure ended."""

    requests: int
    failures: Counter[str]
    failed_at_s: list[float]
    slowest_ms: float


def seen_in(report: dict[str, Any]) -> Seen:
    began_s = report["began_at_ms"] / 1000
    failed_at_s = [began_s + moment["at_s"] for moment in report["timeline"] for _ in range(moment["failed"])]
    return Seen(report["requests"], Counter(report["failures"]), failed_at_s, report["latency"]["max_ms"])


def together(parts: list[Seen]) -> Seen:
    return Seen(
        sum(part.requests for part in parts),
        sum((part.failures for part in parts), Counter[str]()),
        [at_s for part in parts for at_s in part.failed_at_s],
        max(part.slowest_ms for part in parts),
    )


def is_excused(seen: Seen, killed_s: tuple[float, float] | None) -> bool:
    """Nothing was lost but what a replica had in hand when it was killed, if one was."""
    if killed_s is None:
        return not seen.failures
    first_s, last_s = killed_s[0] - 1, killed_s[1] + IN_HAND_S  # times of failures are whole seconds of the run
    return seen.failures.keys() <= IN_HAND and all(first_s <= at_s <= last_s for at_s in seen.failed_at_s)


@contextlib.contextmanager
def load(seen: list[Seen]) -> Iterator[None]:
    """Plain requests and streams through the balancer while the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "loadtest", "-url", URL, "-model", "gpt-4", "-key", KEYS["PLLM_API_KEY"]]
        command += ["-duration", "600s", "-fail-over", "1"]
        kinds = {"plain": ["-rps", str(RATE)], "streams": ["-rps", str(STREAM_RATE), "-stream"]}
        running = [
            (
                Path(folder) / f"{kind}.json",
                subprocess.Popen(
                    [*command, *flags, "-json", str(Path(folder) / f"{kind}.json")],
                    cwd=ROOT,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                ),
            )
            for kind, flags in kinds.items()
        ]
        time.sleep(SETTLE_S)
        try:
            yield
            time.sleep(SETTLE_S)
        finally:
            for _, process in running:
                process.send_signal(2)
            for _, process in running:
                process.wait(PATIENCE_S)
        for file, _ in running:
            seen.append(seen_in(json.loads(file.read_text())))


@contextlib.contextmanager
def official_clients(calls: Counter[str]) -> Iterator[None]:
    """Four of them ask one thing after the other; their own two retries are all that helps them."""
    is_over = threading.Event()

    def ask() -> None:
        with OpenAI(base_url=f"{URL}/v1", api_key=KEYS["PLLM_API_KEY"]) as client:
            while not is_over.is_set():
                try:
                    client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "hi"}])
                    calls["answered"] += 1
                except OpenAIError as error:
                    calls[type(error).__name__] += 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join(PATIENCE_S)
