"""Metrics as text: the same whole or in pieces, and no other response waits for all of them."""

import asyncio
from collections.abc import Callable, Iterable, Iterator

import pytest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from prometheus_client.samples import Exemplar

from gateway.telemetry.exposition import OPEN_METRICS, PIECE, TEXT, content_type, exposition, pieces

PARSERS: dict[str, Callable[[str], Iterable[Metric]]] = {TEXT: text_families, OPEN_METRICS: open_metrics_families}


def whole(metrics: Iterable[Metric], kind: str) -> str:
    return asyncio.run(exposition(metrics, kind)).decode()


def gauges(count: int) -> Iterator[Metric]:
    for piece in pieces(range(count)):
        family = GaugeMetricFamily("pllm_many", "Of many", labels=["number"])
        for number in piece:
            family.add_metric([str(number)], number)
        yield family


@pytest.mark.parametrize("kind", PARSERS)
@pytest.mark.parametrize("count", [0, 1, PIECE, PIECE + 1, 300])
def test_pieces_of_one_metric_stand_under_one_head(kind: str, count: int) -> None:
    rendered = whole([*gauges(count), GaugeMetricFamily("pllm_one", "Another", 7)], kind)

    many, one = PARSERS[kind](rendered)
    assert [sample.value for sample in many.samples] == list(range(count))
    assert [sample.value for sample in one.samples] == [7]
    assert rendered.count("# HELP pllm_many ") == rendered.count("# TYPE pllm_many ") == 1
    assert rendered.count("# EOF") == (kind == OPEN_METRICS)


def test_others_have_their_turn_between_two_pieces() -> None:
    async def turns_of_another() -> int:
        turns, writing = 0, asyncio.create_task(exposition(gauges(10 * PIECE), TEXT))
        while not writing.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(turns_of_another()) >= 10


def test_pieces_are_a_copy_of_the_items() -> None:
    counts = dict.fromkeys(range(2 * PIECE), 1)
    parts = pieces(counts.items())
    seen = list(next(parts))
    counts["new"] = 1  # type: ignore[index]

    assert len([*seen, *(item for part in parts for item in part)]) == 2 * PIECE


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75", OPEN_METRICS),
        ("application/openmetrics-text;version=no-number;escaping=none-of-these", OPEN_METRICS),
    ],
)
def test_scraper_gets_the_format_that_it_names(accept: str, kind: str) -> None:
    assert content_type(accept) == kind


def test_exemplars_are_in_open_metrics_only() -> None:
    exemplar = Exemplar({"trace_id": "ab" * 16}, 0.3, 1_700_000_000.5)
    metric = HistogramMetricFamily("pllm_wait_seconds", "Waits", [("0.5", 1, exemplar), ("+Inf", 1)], 0.3)
    (open_family,) = PARSERS[OPEN_METRICS](whole([metric], OPEN_METRICS))
    rendered = whole([metric], TEXT)

    found = open_family.samples[0].exemplar
    assert found is not None
    assert (found.labels, found.value) == ({"trace_id": "ab" * 16}, 0.3)
    assert "trace_id" not in rendered
