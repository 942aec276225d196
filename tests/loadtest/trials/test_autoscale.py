"""The run that follows the autoscaling signal: its load, its verdict, its picture; and, of the long tests, itself."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from loadtest.trials.autoscale import COURSE, Inputs, Moment, Signal, draw, rate_at, render, turns

RUN_MOST_S = 240.0


def moment(desired: int, wanted: int, in_turn: int = 1) -> Moment:
    inputs = Inputs(active_requests=10, waiting_requests=0, replicas=in_turn, average=9.5)
    return Moment(8.0, Signal(desired, wanted, "load", inputs), in_turn, ok=7, failed=1)


def test_load_climbs_stays_and_falls() -> None:
    (calm_s, calm), (top_s, top), (stays_s, _), (low_s, low), (ends_s, _) = COURSE

    assert [rate_at(s) for s in (0, calm_s, top_s, stays_s, low_s, ends_s + 1)] == [calm, calm, top, top, low, low]
    assert rate_at((calm_s + top_s) / 2) == (calm + top) / 2


@pytest.mark.parametrize(
    ("curve", "count"),
    [([], 0), ([3], 0), ([1, 2, 2, 5], 0), ([1, 3, 3, 2, 2, 1], 1), ([1, 2, 1, 2], 2), ([5, 4, 5, 4, 5], 3)],
)
def test_turns_are_counted(curve: list[int], count: int) -> None:
    assert turns(curve) == count


def test_report_has_a_row_for_each_change_and_the_verdict() -> None:
    moments = [Moment(8.0, None, 1), moment(1, 1), moment(1, 1), moment(2, 2), moment(2, 1), moment(2, 2, in_turn=2)]
    lines = list(render(moments))

    assert [line.split(" | ")[0] for line in lines[2:-2]] == ["| 1 s", "| 3 s", "| 5 s"]
    assert "35 calls answered, 5 failed." in lines[-2]
    assert lines[-1].startswith("Desired replicas changed direction 0 time(s); what the load alone asks for, 2 times")


def test_picture_is_whole_even_without_a_signal() -> None:
    drawn = ElementTree.fromstring(draw([Moment(8.0, None, 1), moment(1, 1), moment(2, 2)]))

    assert drawn.tag.endswith("svg")


@pytest.mark.long
def test_real_cluster_follows_a_surge_and_its_decay_without_flapping(tmp_path: Path) -> None:
    picture = tmp_path / "autoscale.svg"
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.trials.autoscale", "--plot", str(picture)],
        capture_output=True,
        text=True,
        timeout=RUN_MOST_S,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed direction 1 time(s)" in done.stdout
    assert picture.exists()
