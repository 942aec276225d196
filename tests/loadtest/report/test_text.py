"""The summary and its table."""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

import msgspec
import pytest

from loadtest.load.histogram import Percentiles
from loadtest.load.measure import Measurement, Sample
from loadtest.load.requests import Choice, Target
from loadtest.load.runner import Load, Result, Runner
from loadtest.load.slo import Slo
from loadtest.report.summary import Summary, summarise
from loadtest.report.text import render_plan, render_table

TARGET = Target(urls=["http://a/x"])


def sample(**fields: Any) -> Sample:
    return Sample(**{"url": "http://a/x", "failure": None, "total_ms": 10.0, "queue_ms": 1.0, **fields})


def summary_of(samples: Sequence[Sample], *, target: Target = TARGET, rate: float | None = None) -> Summary:
    numbers = count()

    async def calls(_due_s: float) -> Sample:
        return samples[next(numbers)]

    load = Load(concurrent=1, requests=len(samples), rate=rate, arrivals="constant")
    runner = Runner(calls, lambda _: None)
    asyncio.run(runner.run(load))
    return summarise(target, load, runner.result(), is_interrupted=False)


def test_table_shows_counts_latency_failures_and_groups() -> None:
    table = render_table(
        summary_of(
            [
                sample(total_ms=1500.0, deployment="primary", overhead_ms=1.234, first_byte_ms=25.0),
                sample(deployment="backup", fallback="gpt-4>claude"),
                sample(failure="503 server_is_overloaded", total_ms=2.0),
            ]
        )
    )

    assert "3 requests in" in table
    assert "2 ok, 1 failed (33.33%)" in table
    for words in (
        ["latency", "10.0 ms", "1.50 s", "1.50 s", "1.50 s"],
        ["first byte", "25.0 ms", "25.0 ms"],
        ["gateway overhead", "1.23 ms"],
        ["failed calls", "2.00 ms"],
        ["503 server_is_overloaded", "1", "33.33%"],
        ["primary", "1", "1", "0", "1.50 s"],
        ["gpt-4>claude", "1", "1", "0", "10.0 ms"],
    ):
        assert any(line.startswith(words[0]) and contains(line, words) for line in table.splitlines()), words


def contains(line: str, words: Sequence[str]) -> bool:
    """All words, in their order."""
    position = 0
    for word in words:
        position = line.find(word, position) + len(word)
        if position < len(word):
            return False
    return True


def test_sections_without_values_are_left_out() -> None:
    table = render_table(summary_of([sample()]))

    for word in ("failures", "first byte", "gateway overhead", "deployment", "client queue", "url", "interrupted"):
        assert word not in table


def test_urls_are_compared_when_there_are_several() -> None:
    target = Target(urls=["http://a/x", "http://b/x"], models=[Choice("m")])
    summary = summary_of([sample(), sample(url="http://b/x")], target=target)

    assert summary.groups["url"].keys() == {"http://a/x", "http://b/x"}


def test_open_loop_reports_the_client_queue_apart() -> None:
    summary = summary_of([sample(total_ms=12.0, queue_ms=2.0)], rate=100)

    assert summary.queue is not None
    assert summary.sent is not None
    assert (summary.queue.p50_ms, summary.sent.p50_ms) == (2, 10)
    assert "client queue" in render_table(summary)


def test_straggler_does_not_dilute_the_rates() -> None:
    async def calls(due_s: float) -> Sample:
        if runner.started == 50:
            await asyncio.sleep(0.3)
            return sample(failure="timeout")
        return sample(tokens=10)

    load = Load(concurrent=100, requests=50, rate=500, arrivals="constant")
    runner = Runner(calls, lambda _: None)
    asyncio.run(runner.run(load))
    summary = summarise(TARGET, load, runner.result(), is_interrupted=False)

    assert summary.elapsed_s >= 0.3
    assert summary.requests_per_s == pytest.approx(500, rel=0.05)
    assert summary.ok_per_s > 1.5 * summary.ok / summary.elapsed_s


def rates(load: Load, *, due_s: float, ok_s: float, ok: int, failed: int = 0) -> tuple[float, float, float]:
    """Requests, good answers and kept ones per second."""
    measured = Measurement(slo=Slo(latency_ms=1000))
    for _ in range(ok):
        measured.add(sample())
    for _ in range(failed):
        measured.add(sample(failure="cannot connect"))
    result = Result(measured, started=ok + failed, elapsed_s=due_s + 1, due_s=due_s, ok_s=ok_s)
    summary = summarise(TARGET, load, result, is_interrupted=False)
    assert summary.goodput is not None
    return summary.requests_per_s, summary.ok_per_s, summary.goodput.kept_per_s


@pytest.mark.parametrize("limit", [{"duration_s": 2.0}, {"requests": 2}, {"requests": 2, "duration_s": 9.0}])
def test_one_call_a_second_is_reported_as_one_a_second(limit: dict[str, Any]) -> None:
    load = Load(concurrent=1, rate=1.0, arrivals="constant", **limit)

    assert rates(load, due_s=1.0, ok_s=1.01, ok=2) == (1.0, 1.0, 1.0)


def test_server_that_dies_halfway_gets_half_the_goodput() -> None:
    load = Load(concurrent=1, rate=50.0, duration_s=6.0)

    assert rates(load, due_s=5.99, ok_s=3.0, ok=150, failed=150) == (50.0, 25.0, 25.0)


def test_closed_loop_that_gets_errors_in_the_end_counts_them_as_time() -> None:
    _, ok_per_s, kept_per_s = rates(Load(concurrent=1, duration_s=6.0), due_s=6.0, ok_s=3.0, ok=150, failed=900)

    assert (ok_per_s, kept_per_s) == (25.0, 25.0)


def test_run_without_calls_is_reported() -> None:
    runner = Runner(lambda _: asyncio.sleep(0, sample()), lambda _: None)
    summary = summarise(TARGET, Load(concurrent=1), runner.result(), is_interrupted=True)

    assert "0 requests in 0.00 s; interrupted: 0 ok, 0 failed (0.00%)" in render_table(summary)


def test_late_load_generator_is_reported() -> None:
    summary = summary_of([sample()], rate=100)

    assert "it was the bottleneck" not in render_table(summary)
    late = Percentiles(p50_ms=1.0, p90_ms=2.0, p99_ms=80.0, p999_ms=90.0, max_ms=99.0)
    assert "late (p99 80.0 ms): it was the bottleneck" in render_table(msgspec.structs.replace(summary, late=late))


def test_load_without_a_server_is_reported() -> None:
    unreachable = sample(failure="cannot connect")

    assert "Nothing listens at http://a/x." in render_table(summary_of([unreachable]))
    assert "Nothing listens" not in render_table(summary_of([unreachable, sample(failure="502")]))


def test_busy_load_generator_is_reported() -> None:
    idle = msgspec.structs.replace(summary_of([sample()]), elapsed_s=5.0)

    assert "measured itself" in render_table(msgspec.structs.replace(idle, cpu_ratio=0.97))
    assert "measured itself" not in render_table(msgspec.structs.replace(idle, cpu_ratio=0.5))


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (Load(concurrent=10, requests=100), "closed loop, 10 callers; 100 requests"),
        (
            Load(concurrent=9, requests=5, duration_s=2.5, rate=300),
            "open loop, 300/s poisson, at most 9 at once; 5 requests or 2.5 s",
        ),
    ],
)
def test_plan_describes_the_run(load: Load, words: str) -> None:
    assert words in render_plan(TARGET, load)


def test_summary_survives_json() -> None:
    summary = summary_of([sample(deployment="d"), sample(failure="502")])

    assert msgspec.json.decode(msgspec.json.encode(summary), type=Summary).failures == {"502": 1}
