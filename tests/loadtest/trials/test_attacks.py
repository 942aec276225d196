"""`make attacks`: its verdicts, and one attack on a real replica."""

import re
from pathlib import Path

import msgspec
import pytest

from loadtest.trials.attack_rig import Effect
from loadtest.trials.attacks import held, names, row, run

CALM = Effect(70, 90, 12, {"200": 20}, 30, "CLOSED", "1 request")


def test_calm_replica_holds() -> None:
    assert held("slow_heads", CALM)
    assert "| slow heads | 1 request | 70, 90 | 12 ms | 20 x 200; 30 ms | closed |" in row("slow_heads", CALM)


@pytest.mark.parametrize(
    "change",
    [{"peak_mib": 300}, {"livez_ms": 1500}, {"statuses": {"200": 19, "503": 1}}, {"state": "OPEN"}],
    ids=["memory", "livez", "a failed call", "an open breaker"],
)
def test_replica_that_suffers_does_not_hold(change: dict[str, object]) -> None:
    assert not held("slow_heads", msgspec.structs.replace(CALM, **change))


def test_memory_of_bodies_is_expected_where_bodies_are_held() -> None:
    assert held("held_bodies", msgspec.structs.replace(CALM, peak_mib=300))


def test_attack_on_a_real_replica_is_shown(tmp_path: Path) -> None:
    name = next(name for name in names() if name.endswith("endless 1xx"))
    seen = run(name, tmp_path)

    # With its breaker open, later calls of the hostile model are 503.
    assert re.fullmatch(r"20 calls, half of them streams: \d+ x 502(, \d+ x 503)?", seen.sent), seen.sent
    assert seen.statuses.keys() == {"200"}
    assert seen.livez_ms > 0
