"""`make saturation`: its figures, and one case as it runs, shortened."""

import pytest

from loadtest.trials.saturation import Case, Outcome, cases, measure, row

GOOD = Outcome(
    per_s=1000,
    failures={},
    switches=0,
    standby_s=0,
    decision_ms=(1, 2),
    leases_left=0,
    states=["closed"],
)


@pytest.mark.parametrize(
    ("failures", "switches", "leases_left", "states", "is_good"),
    [
        ({}, 0, 0, ["closed"], True),
        ({"503 server_is_overloaded": 9}, 0, 0, ["closed"], True),
        ({"502 upstream_error": 1}, 0, 0, ["closed"], False),
        ({}, 1, 0, ["closed"], False),
        ({}, 0, 1, ["closed"], False),
        ({}, 0, 0, ["closed", "open"], False),
    ],
)
def test_run_is_good_when_the_truth_held_and_calls_failed_only_by_shedding(
    failures: dict[str, int], switches: int, leases_left: int, states: list[str], is_good: bool
) -> None:
    found = Outcome(
        per_s=1,
        failures=failures,
        switches=switches,
        standby_s=0,
        decision_ms=(1, 2),
        leases_left=leases_left,
        states=states,
    )

    assert found.is_good is is_good


def test_open_loop_follows_the_case_that_measures_the_capacity() -> None:
    first = {case.replicas: case.load for case in reversed(list(cases()))}

    assert all("rps" not in load for load in first.values())


def test_every_load_is_tried_with_a_busy_machine_as_well() -> None:
    loads = {
        trouble: [(c.replicas, c.load, c.mode) for c in cases() if c.trouble == trouble] for trouble in ("", "hog")
    }

    assert loads[""] == loads["hog"]
    assert len(loads[""]) == 12


def test_row_shows_the_outcome() -> None:
    case = Case(2, "-rps {rps}", "streamed", "hog")

    assert row(case, GOOD) == (
        "| 2 | -rps 2 x capacity, streamed, hog | 1,000 | 0 | 0 | 0.0 s | 1.0 / 2.0 ms | 0 | closed |"
    )


def test_store_that_stands_still_now_and_then_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.trials.saturation.STOP_EVERY_S", 1.0)
    monkeypatch.setattr("loadtest.trials.saturation.STOPS_S", (0.2,))
    found = measure(Case(2, "-concurrent 4", trouble="stops"), 2, 0)

    assert found.is_good, found
    assert found.per_s > 0
