"""`make side-by-side`: its figures, and two scenarios as they run, shortened."""

import pytest

from loadtest.trials.recoveries import WAYS
from loadtest.trials.side_by_side import QUICK, SCENARIOS, Answer, Run, llama_home, row, run


def test_recovery_counts_from_the_healthy_provider_to_the_last_call_that_failed() -> None:
    answers = [Answer(1, 2, "503 x"), Answer(3, 4, None), Answer(5, 6, "503 x"), Answer(7, 10, None)]

    assert Run(answers, healthy_s=4.5).recovered_s == 0.5
    assert Run(answers, healthy_s=6).recovered_s == 0.0
    assert Run(answers).recovered_s is None


def test_row_counts_served_calls_and_names_failures() -> None:
    answers = [Answer(0, 1, None), Answer(0, 3, "503 x"), Answer(1, 2, "502 y"), Answer(1, 2, "503 x")]

    assert row("n", "direct", Run(answers)) == "| n | direct | 1 of 4 | 3.0 s | – | 2 × 503 x, 1 × 502 y |"
    assert row("n", "through", Run(answers[:1], 0.0)) == "| n | through | 1 of 1 | 1.0 s | 0.0 s | – |"


@pytest.mark.parametrize("way", WAYS)
def test_engine_with_two_slots_serves_all_clients(way: str) -> None:
    found = run("engine with two slots", QUICK, way)

    assert found.served == len(found.answers) == 2 * QUICK.clients
    assert max(answer.seconds for answer in found.answers) > 8 * QUICK.chunk_gap_ms / 1000


def test_killed_provider_refuses_until_it_is_restarted() -> None:
    found = run("provider killed and restarted", QUICK, "direct")

    assert 0 < found.served < len(found.answers)
    assert {answer.failure for answer in found.answers} >= {None, "ConnectionRefusedError"}
    assert found.recovered_s is not None
    assert found.answers[-1].failure is None


def test_llama_is_installed_only_for_its_own_scenarios() -> None:
    names = [name for name, scenario in SCENARIOS.items() if not scenario.is_real]

    assert len(SCENARIOS) - len(names) == 3
    assert llama_home(names) == (None, "")
