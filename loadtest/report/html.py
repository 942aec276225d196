"""Renders the report as one self-contained HTML page: figures, a timeline, tables."""

from collections.abc import Callable, Iterator, Sequence
from html import escape

from loadtest.report.charts import COLOURS, GREY, RED, WARM, Line, Mark, Panel, draw_timeline
from loadtest.report.cluster_events import Event
from loadtest.report.summary import MomentSummary, Summary
from loadtest.report.text import latency_rows, render_doubts, render_goodput, render_head, render_ms

_STYLE = """\
body { font: 15px/1.5 sans-serif; color: #222; background: #fff; max-width: 900px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0 }
td, th { padding: .2em .9em; border-bottom: 1px solid #ddd; text-align: right; font-variant-numeric: tabular-nums }
td:first-child, th:first-child { text-align: left; padding-left: 0; overflow-wrap: anywhere }
svg { width: 100%; height: auto } .doubt { color: #b5452c; font-weight: bold } h2 { font-size: 1.1em; margin-top: 2em }
"""
_OPENED = ("open", "forced_open", "standby", "on", "shedding")


def render_page(plan: str, summary: Summary, events: Sequence[Event], note: str = "") -> str:
    """Returns the page. `note`: why there are no events, if they were requested."""
    return "".join(_render_parts(plan, summary, events, note))


def _render_parts(plan: str, summary: Summary, events: Sequence[Event], note: str) -> Iterator[str]:
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Load test</title><style>{_STYLE}</style>'
    yield f"<h1>Load test</h1><p>{escape(plan).replace(chr(10), '<br>')}</p>"
    yield "".join(f"<p>{escape(line)}</p>" for line in (*render_head(summary), *render_goodput(summary)))
    yield "".join(f'<p class="doubt">{escape(line)}</p>' for line in render_doubts(summary) if line)
    marks = [mark_event(event, summary.began_at_ms) for event in events]
    yield draw_run("Second by second", summary, marks)
    yield _table(
        ["latency", "p50", "p90", "p99", "p99.9", "max"],
        [[title, *map(render_ms, values)] for title, values in latency_rows(summary)],
    )
    if summary.failures:
        share = 1 / max(summary.requests, 1)
        rows = [[name, f"{count:,}", f"{count * share:.2%}"] for name, count in summary.failures.items()]
        yield _table(["failures", "count", "share"], rows)
    for dimension, groups in summary.groups.items():
        rows = []
        for name, group in groups.items():
            p50, p99 = (
                ("-", "-") if group.latency is None else map(render_ms, (group.latency.p50_ms, group.latency.p99_ms))
            )
            rows.append([name, *(f"{n:,}" for n in (group.requests, group.ok, group.failed)), p50, p99])
        yield _table([dimension, "requests", "ok", "failed", "p50", "p99"], rows)
    if events:
        yield _table(
            ["what the cluster did", "after"],
            [[mark.text, f"{mark.at_s:.1f} s"] for mark in marks],
        )
    if note:
        yield f"<p>Events of the cluster are not shown: {escape(note)}</p>"
    yield "</html>\n"


def draw_run(title: str, summary: Summary, marks: Sequence[Mark]) -> str:
    """Returns the timeline of a run as SVG: answers, latency, errors, and the deployments and replicas that served."""
    seconds = _seconds_drawn(summary)
    panels = [
        Panel(
            title="answers per second",
            lines=[
                _line("ok", COLOURS[0], summary, seconds, lambda moment: moment.ok),
                _line("failed", RED, summary, seconds, lambda moment: moment.failed),
            ],
        ),
        Panel(
            title="latency of good answers, ms",
            lines=[
                _line("p50", COLOURS[1], summary, seconds, lambda moment: moment.p50_ms if moment.ok else None, None),
                _line("p99", COLOURS[2], summary, seconds, lambda moment: moment.p99_ms if moment.ok else None, None),
            ],
        ),
    ]
    if summary.failures:
        names = list(summary.failures)[: len(WARM)]
        lines = [_count_line(name, WARM[index], summary, seconds, _failures) for index, name in enumerate(names)]
        panels.append(Panel(title="errors per second", lines=lines, is_stacked=True))
    for dimension in ("deployment", "replica"):
        names = list(summary.groups.get(dimension, {}))[: len(COLOURS)]
        served = _served_by(dimension)
        lines = [_count_line(name, COLOURS[index], summary, seconds, served) for index, name in enumerate(names)]
        if lines:
            panels.append(Panel(title=f"answers per second, by {dimension}", lines=lines, is_stacked=True))
    return draw_timeline(title, panels, marks, seconds)


def _seconds_drawn(summary: Summary) -> int:
    """Returns the length of the timeline. Good answers after the last call was due are left out: they would look like a
    drop of the load.
    """
    ends_s = summary.load.duration_s or 0.0
    shown = [moment.at_s for moment in summary.timeline if moment.failed or not ends_s or moment.at_s < ends_s]
    return max(shown, default=0) + 1


def _line(
    name: str,
    colour: str,
    summary: Summary,
    seconds: int,
    value: Callable[[MomentSummary], float | None],
    missing: float | None = 0.0,
) -> Line:
    values: list[float | None] = [missing] * seconds
    for moment in summary.timeline:
        if moment.at_s < seconds:
            values[moment.at_s] = value(moment)
    return Line(name, colour, values)


def _count_line(
    name: str, colour: str, summary: Summary, seconds: int, counts: Callable[[MomentSummary], dict[str, int]]
) -> Line:
    return _line(name, colour, summary, seconds, lambda moment: counts(moment).get(name, 0))


def _failures(moment: MomentSummary) -> dict[str, int]:
    return moment.failures


def _served_by(dimension: str) -> Callable[[MomentSummary], dict[str, int]]:
    return lambda moment: moment.served.get(dimension, {})


def mark_event(event: Event, began_at_ms: float) -> Mark:
    return Mark((event.at_ms - began_at_ms) / 1000, event.render(), RED if event.to in _OPENED else GREY)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    return f"<table>{row(heads, 'th')}{''.join(row(cells, 'td') for cells in rows)}</table>"
