"""The page: self-contained, and no text from servers becomes markup."""

import re
from typing import Any

import msgspec

from loadtest.load.measure import Measurement, Sample
from loadtest.load.requests import Target
from loadtest.load.runner import Load, Result
from loadtest.load.slo import Slo
from loadtest.report.cluster_events import Event
from loadtest.report.html import draw_run, render_page
from loadtest.report.summary import Summary, summarise


def summary_of(*samples: dict[str, Any]) -> Summary:
    measurement = Measurement(slo=Slo(latency_ms=100))
    for second, fields in enumerate(samples):
        measurement.add(
            Sample(**{"url": "http://a", "failure": None, "total_ms": 10.0, "queue_ms": 0.0, **fields}), second
        )
    result = Result(measurement, started=len(samples), elapsed_s=len(samples), began_at_ms=1_000_000.0)
    return summarise(Target(urls=["http://a"]), Load(concurrent=1), result, is_interrupted=False)


def test_page_shows_figures_timeline_groups_and_events() -> None:
    summary = summary_of(
        {"deployment": "azure", "replica": "r1"},
        {"deployment": "openai", "replica": "r2", "total_ms": 1500.0},
        {"failure": "503 server_is_overloaded", "total_ms": 2.0},
    )
    events = [Event(subject="azure", before="closed", to="open", reason="slow", at_ms=1_001_500)]
    page = render_page("the plan", summary, events)

    for shown in (
        "the plan",
        "3 requests in 3.00 s: 2 ok, 1 failed (33.33%)",
        "kept latency 100 ms",
        "answers per second, by deployment",
        "answers per second, by replica",
        "errors per second",
        "1.50 s",
        "1: 1.5 s azure: closed → open (slow)",
        "<tr><td>azure: closed → open (slow)</td><td>1.5 s</td></tr>",
    ):
        assert shown in page, shown


def test_page_needs_nothing_else() -> None:
    page = render_page("plan", summary_of({}), [])

    assert re.findall(r"<script|<link|<img|src=|href=|url\(|@import", page) == []
    assert set(re.findall(r"https?://[^\"' <]+", page)) == {"http://www.w3.org/2000/svg"}


def test_names_from_servers_are_text_and_nothing_more() -> None:
    evil = "<script>alert(1)</script>"
    page = render_page(
        evil, summary_of({"deployment": evil}, {"failure": evil}), [Event(subject=evil, before="")], evil
    )

    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 4


def test_missing_events_are_explained() -> None:
    assert "not shown: a answered 403" in render_page("plan", summary_of({}), [], "a answered 403")


def test_stragglers_after_the_end_do_not_look_like_a_slump_but_failures_stay() -> None:
    def seconds_drawn(*samples: dict[str, Any]) -> int:
        summary = summary_of(*samples)
        ended = msgspec.structs.replace(summary, load=Load(concurrent=1, duration_s=2.0))
        line = re.search(r'<polyline points="([^"]*)"[^>]*#1f6f54', draw_run("t", ended, []))
        assert line is not None
        return len(line[1].split())

    assert seconds_drawn({}, {}, {}) == 2
    assert seconds_drawn({}, {}, {"failure": "timeout"}) == 3


def test_run_without_calls_has_a_page() -> None:
    assert "0 requests" in render_page("plan", summary_of(), [])
