"""Timelines as SVG: what is drawn where."""

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest

from loadtest.report.charts import LEFT, RIGHT, WIDTH, Line, Mark, Panel, _round_up, draw_timeline

SVG = "{http://www.w3.org/2000/svg}"


def draw(panels: Sequence[Panel] = (), marks: Sequence[Mark] = (), seconds: int = 4) -> ElementTree.Element:
    return ElementTree.fromstring(draw_timeline("a title", panels, marks, seconds))


def points(element: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in element.attrib["points"].split())]


def test_line_is_drawn_over_the_whole_of_the_axis() -> None:
    drawn = draw([Panel(title="p", lines=[Line("ok", "green", [0.0, 5.0, 10.0, 10.0])])])
    (line,) = drawn.iter(f"{SVG}polyline")
    xs, ys = zip(*points(line), strict=True)

    step = (WIDTH - LEFT - RIGHT) / 4
    assert xs == pytest.approx([LEFT + step * (second + 0.5) for second in range(4)], abs=0.1)
    assert ys[0] > ys[1] > ys[2] == ys[3]
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.1)


def test_seconds_without_a_value_are_gaps() -> None:
    drawn = draw([Panel(title="p", lines=[Line("p50", "blue", [1.0, 2.0, None, 3.0])])])

    assert len(list(drawn.iter(f"{SVG}polyline"))) == 1
    assert len(list(drawn.iter(f"{SVG}circle"))) == 1


def test_areas_stand_on_top_of_each_other() -> None:
    lines = [Line("a", "red", [2.0, 2.0]), Line("b", "blue", [3.0, 8.0])]
    drawn = draw([Panel(title="p", lines=lines, is_stacked=True)], seconds=2)
    upper, lower = drawn.iter(f"{SVG}polygon")
    bottom = points(lower)[0][1]

    assert (upper.attrib["fill"], lower.attrib["fill"]) == ("blue", "red")
    assert bottom - points(upper)[2][1] == pytest.approx(5 * (bottom - points(lower)[2][1]), abs=0.5)


def test_marks_are_numbered_and_explained() -> None:
    drawn = draw([Panel(title="p", lines=[])], [Mark(1.0, "azure: closed → open"), Mark(3.0, "<b>&")])
    texts = [text.text for text in drawn.iter(f"{SVG}text")]

    assert {"1", "2", "1: 1.0 s azure: closed → open", "2: 3.0 s <b>&"} <= set(texts)


def test_names_too_long_for_a_panel_are_visibly_shortened() -> None:
    names = ["disconnected before an answer", "a deployment with a name as long as it gets"]
    drawn = draw([Panel(title="p", lines=[Line(name, "red", [1.0]) for name in names])])

    shown = [text.text or "" for text in drawn.iter(f"{SVG}text")]
    assert names[0] in shown
    assert "a deployment with a name as …" in shown


def test_nothing_measured_is_still_a_picture() -> None:
    assert draw([Panel(title="p", lines=[Line("ok", "green", [])])], seconds=0).tag == f"{SVG}svg"


@pytest.mark.parametrize(
    ("value", "rounded"), [(0, 1), (0.03, 0.05), (1, 1), (1.1, 2), (5, 5), (60, 100), (100, 100), (12_000, 20_000)]
)
def test_axes_end_at_round_numbers(value: float, rounded: float) -> None:
    assert _round_up(value) == rounded


def test_marks_that_do_not_fit_below_are_shortened_and_look_it() -> None:
    drawn = draw_timeline("t", [], [Mark(1.0, "the store does not answer: " + "x" * 90)], 5)

    assert "the store does not answer: " + "x" * 76 + "…</text>" in drawn


@pytest.mark.parametrize(("text", "columns"), [("short", 2), ("the store does not answer: " + "x" * 50, 1)])
def test_marks_that_need_all_of_the_width_get_it(text: str, columns: int) -> None:
    drawn = draw_timeline("t", [], [Mark(1.0, "short"), Mark(2.0, text)], 5)
    texts = re.findall(r'<text x="([\d.]+)" y="[\d.]+" fill="[^"]+">\d: ', drawn)

    assert len(set(texts)) == columns
    assert text in drawn
