"""`make recoveries`: one lane as it runs, and the tables."""

import subprocess
import sys

import pytest

from loadtest.recoveries import FAULTS, Fault, Lane, Results, Trial, render, run_lane

FAULT = Fault(name="x", once={"fail_first": 1, "error_status": 503})
CLOSED = FAULTS[-1]


@pytest.mark.parametrize(
    ("client", "is_stream", "way"),
    [("chat", False, "direct"), ("responses", True, "direct"), ("messages", True, "through")],
)
def test_lane_has_a_trial_for_every_fault(client: str, is_stream: bool, way: str) -> None:
    lane = Lane(client, is_stream, way)
    results = run_lane(lane, [FAULT, CLOSED], trials=1)

    assert list(results) == [("x", lane.column, way), (CLOSED.name, lane.column, way)]
    assert [trial.error for trials in results.values() for trial in trials] == [None, None]


def test_fault_that_no_client_recovers_from_is_reported() -> None:
    lane = Lane("chat", is_stream=False, way="direct")
    (((trial,),)) = run_lane(lane, [Fault(name="x", once={"fail_first": 1, "error_status": 400})], trials=1).values()

    assert trial.error is not None
    assert "BadRequestError" in trial.error


def test_fault_that_no_call_met_ends_the_run() -> None:
    with pytest.raises(SystemExit, match="No call met the fault 'x'"):
        run_lane(Lane("chat", is_stream=False, way="direct"), [Fault(name="x", once={"fail_first": 9})], trials=1)


def test_tables_show_direct_before_through_and_each_error_once() -> None:
    good, bad = Trial(0.5, None), Trial(1.0, "InternalServerError: 503")
    results: Results = {("x", "chat, plain", "direct"): [good, good], ("x", "chat, plain", "through"): [bad, bad]}
    text = render(results, 2)

    assert "| fault | chat, plain |\n|---|---|\n| x | 2 / 0 |\n" in text
    assert "| x | 0.5 / 1.0 |" in text
    assert text.endswith("* x, chat, plain, through: InternalServerError: 503\n")


def test_unknown_fault_names_those_that_exist() -> None:
    command = [sys.executable, "-m", "loadtest.recoveries", "--fault", "rain"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)

    assert finished.returncode == 2
    assert "status 500" in finished.stderr
