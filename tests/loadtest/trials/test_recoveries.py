"""`make recoveries`: one lane as it runs, and the tables."""

import subprocess
import sys

import pytest

from loadtest.trials.recoveries import CLAUDE_CODE, FAULTS, Fault, Lane, Results, Trial, lanes_of, render, run_lane
from loadtest.trials.sdks import SDKS

FAULT = Fault(name="x", once={"fail_first": 1, "error_status": 503})
CLOSED = FAULTS[-1]
MISTAKE = Fault(name="x", once={"fail_first": 1, "error_status": 400})
UNMET = Fault(name="x", once={"fail_first": 9})


@pytest.mark.parametrize(
    ("client", "is_stream", "way"),
    [("chat", False, "direct"), ("responses", True, "direct"), ("messages", True, "through")],
)
def test_lane_has_a_trial_for_every_fault(client: str, is_stream: bool, way: str) -> None:
    lane = Lane(client, is_stream, way)
    results = run_lane(lane, [FAULT, CLOSED], 1, SDKS[client])

    assert list(results) == [("x", lane.column, way), (CLOSED.name, lane.column, way)]
    assert [trial.error for trials in results.values() for trial in trials] == [None, None]


def test_fault_that_no_client_recovers_from_is_reported() -> None:
    lane = Lane("chat", is_stream=False, way="direct")
    (((trial,),)) = run_lane(lane, [MISTAKE], 1, SDKS["chat"]).values()

    assert trial.error is not None
    assert "BadRequestError" in trial.error


def test_fault_that_no_call_met_ends_the_run() -> None:
    with pytest.raises(SystemExit, match="No call met the fault 'x'"):
        run_lane(Lane("chat", is_stream=False, way="direct"), [UNMET], 1, SDKS["chat"])


def test_tables_show_direct_before_through_and_each_error_once() -> None:
    good, bad = Trial(0.5, None), Trial(1.0, "InternalServerError: 503")
    results: Results = {("x", "chat, plain", "direct"): [good, good], ("x", "chat, plain", "through"): [bad, bad]}
    text = render(results, 2)

    assert "| fault | chat, plain |\n|---|---|\n| x | 2 / 0 |\n" in text
    assert "| x | 0.5 / 1.0 |" in text
    assert text.endswith("* x, chat, plain, through: InternalServerError: 503\n")


def test_claude_code_has_streams_only() -> None:
    lanes = lanes_of({"chat": SDKS["chat"], CLAUDE_CODE: SDKS["messages"]})
    columns = [lane.column for lane in lanes if lane.way == "through"]

    assert columns == ["chat, plain", "chat, stream", "Claude Code, stream"]


def test_unknown_fault_names_those_that_exist() -> None:
    command = [sys.executable, "-m", "loadtest.trials.recoveries", "--fault", "rain"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)

    assert finished.returncode == 2
    assert "status 500" in finished.stderr
