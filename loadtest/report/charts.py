"""Draws timelines as SVG: stacked panels over one axis of seconds, with marks through all of them."""

import math
from collections.abc import Sequence
from html import escape

import msgspec

WIDTH, LEFT, RIGHT = 900, 64, 236
PANEL, GAP, TOP = 120, 44, 64
COLOURS = ("#1f6f54", "#3465a4", "#c17d11", "#75507b", "#5c7d0e", "#06989a", "#8f5902", "#555753")
WARM = ("#b5452c", "#e08e45", "#8c2f39", "#d4a017", "#a05195", "#665191", "#5e3c2c", "#c06c84")
RED, GREY = "#b5452c", "#888888"
MARKS_NAMED = 40
# Characters that fit next to a panel, into half of the width below it and into all of it, in the widest usual font.
NAME_MOST, HALF_MOST, MARK_MOST = 29, 46, 104


class Line(msgspec.Struct, frozen=True):
    """One value a second; None is a gap."""

    name: str
    colour: str
    values: Sequence[float | None]


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    lines: Sequence[Line]
    is_stacked: bool = False
    """Areas on top of each other."""


class Mark(msgspec.Struct, frozen=True):
    """An event at a moment, numbered in the picture."""

    at_s: float
    text: str
    colour: str = GREY


def draw_timeline(title: str, panels: Sequence[Panel], marks: Sequence[Mark], seconds: int) -> str:
    """Returns a self-contained SVG document."""
    seconds = max(seconds, 1)
    body_height = TOP + len(panels) * (PANEL + GAP)
    named = marks[:MARKS_NAMED]
    rows = math.ceil(len(named) / (1 if any(len(mark.text) > HALF_MOST for mark in named) else 2))
    height = body_height + 16 * rows + 12
    drawn = [_draw_panel(panel, TOP + index * (PANEL + GAP), seconds) for index, panel in enumerate(panels)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12" role="img"><title>{escape(title)}</title>'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
        f'<text x="{LEFT}" y="20" font-size="15" font-weight="bold" fill="#222">{escape(title)}</text>'
        f"{''.join(drawn)}{_draw_marks(named, rows, body_height, seconds)}</svg>\n"
    )


def _x(at_s: float, seconds: int) -> float:
    return LEFT + at_s / seconds * (WIDTH - LEFT - RIGHT)


def _draw_panel(panel: Panel, top: int, seconds: int) -> str:
    bottom = top + PANEL
    stacked = _stack(panel.lines) if panel.is_stacked else panel.lines
    most = _round_up(max((value for line in stacked for value in line.values if value is not None), default=0.0))
    parts = [f'<text x="{LEFT}" y="{top - 7}" fill="#444">{escape(panel.title)}</text>']
    for share in (0, 0.5, 1):
        y = bottom - share * PANEL
        parts.append(
            f'<line x1="{LEFT}" y1="{y:g}" x2="{WIDTH - RIGHT}" y2="{y:g}" stroke="#ddd"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:g}" text-anchor="end" fill="#666">{share * most:g}</text>'
        )
    step = _round_up(seconds / 10)
    for number in range(int(seconds / step) + 1):
        x = _x(number * step, seconds)
        label = f"{number * step:g} s" if number else "0"
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle" fill="#666">{label}</text>')
    # The last line of a stack is the highest: it is drawn first, and the others cover their parts.
    for line in reversed(stacked):
        parts.append(_draw_line(line, bottom, most, seconds, panel.is_stacked))
    for index, line in enumerate(panel.lines[:8]):
        y = top + 10 + 15 * index
        x = WIDTH - RIGHT + 10
        parts.append(
            f'<rect x="{x}" y="{y - 8}" width="9" height="9" fill="{line.colour}"/>'
            f'<text x="{x + 14}" y="{y}" fill="#444">{escape(_shorten(line.name, NAME_MOST))}</text>'
        )
    return "".join(parts)


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _stack(lines: Sequence[Line]) -> list[Line]:
    stacked: list[Line] = []
    for line in lines:
        below = stacked[-1].values if stacked else [0.0] * len(line.values)
        stacked.append(
            Line(line.name, line.colour, [(a or 0.0) + (b or 0.0) for a, b in zip(line.values, below, strict=True)])
        )
    return stacked


def _draw_line(line: Line, bottom: int, most: float, seconds: int, is_area: bool) -> str:
    drawn = []
    for run in _runs(line.values):
        points = [(_x(at_s + 0.5, seconds), bottom - value / most * PANEL) for at_s, value in run]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        if is_area:
            path = f"{points[0][0]:.1f},{bottom} {path} {points[-1][0]:.1f},{bottom}"
            drawn.append(f'<polygon points="{path}" fill="{line.colour}"/>')
        elif len(points) == 1:
            x, y = points[0]
            drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{line.colour}"/>')
        else:
            drawn.append(f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2"/>')
    return "".join(drawn)


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Returns the stretches without a gap, each value with its second."""
    runs: list[list[tuple[int, float]]] = [[]]
    for at_s, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((at_s, value))
    return [run for run in runs if run]


def _draw_marks(marks: Sequence[Mark], rows: int, bottom: int, seconds: int) -> str:
    """Draws a numbered line for each mark, and below the panels the texts of the numbers, in columns of ``rows``."""
    parts = []
    for index, mark in enumerate(marks):
        x = _x(mark.at_s, seconds)
        column, row = divmod(index, rows)
        text_x, text_y = LEFT + column * (WIDTH - LEFT) / 2, bottom + 16 * row
        parts.append(
            f'<line x1="{x:.1f}" y1="{TOP - 18}" x2="{x:.1f}" y2="{bottom - GAP}" stroke="{mark.colour}" '
            f'stroke-dasharray="4 3"/>'
            f'<text x="{x:.1f}" y="{TOP - 22 - index % 2 * 11}" text-anchor="middle" font-size="10" '
            f'fill="{mark.colour}">{index + 1}</text>'
            f'<text x="{text_x:.1f}" y="{text_y}" fill="{mark.colour}">{index + 1}: {mark.at_s:.1f} s '
            f"{escape(_shorten(mark.text, MARK_MOST))}</text>"
        )
    return "".join(parts)


def _round_up(value: float) -> float:
    """Rounds up to 1, 2 or 5 times a power of ten; 1 for 0."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return float(f"{next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.999999):g}")
