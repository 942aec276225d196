"""The values that the settings of the forecast accept, and how they refuse others."""

import pytest

from gateway.configuration.router import RouterSettings
from gateway.configuration.store_policies import router_policy
from gateway.configuration.struct_reader import read
from gateway.configuration.yaml_source import Problem


def router(**forecast: object) -> tuple[RouterSettings, list[str]]:
    problems: list[Problem] = []
    found = read(RouterSettings, {"forecast": forecast}, "router", problems)
    return found, [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("enabled", "maybe", "expected true or false"),
        ("lookahead", "30s", "expected a duration from 1m to 1h"),
        ("lookahead", "2h", "expected a duration from 1m to 1h"),
        ("lookahead", -300, "expected a duration from 1m to 1h"),
        ("lookahead", "soon", "expected a duration from 1m to 1h"),
        ("early_cut", 0.31, "expected a number from 0 to 0.3"),
        ("early_cut", -0.1, "expected a number from 0 to 0.3"),
        ("early_cut", float("nan"), "expected a number from 0 to 0.3"),
        ("horizon", "5m", "unknown key"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_path(field: str, value: object, expected: str) -> None:
    _, problems = router(**{field: value})

    assert len(problems) == 1
    assert problems[0].startswith(f"router.forecast.{field}: {expected}")


def test_off_is_no_lookahead_for_the_scripts() -> None:
    off, _ = router(lookahead="10m")
    on, problems = router(enabled=True, lookahead="10m", early_cut=0)

    assert problems == []
    assert router_policy(off).forecast_ahead_ms is None
    assert (router_policy(on).forecast_ahead_ms, router_policy(on).forecast_cut) == (600_000, 0)
