"""router.autoscale: defaults, problems with their paths, and the policy in the store."""

import pytest

from gateway.configuration.autoscale import AutoscaleSettings
from gateway.configuration.settings import ConfigurationError, Settings, parse
from gateway.configuration.store_policies import configuration
from shared_state.policies import AutoscalePolicy

MODELS = "\nmodel_list: [{id: a, model_name: a}]"


def problems(autoscale: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(f"router: {{autoscale: {autoscale}}}{MODELS}", {})
    return [str(problem) for problem in caught.value.problems]


def read(router: str) -> Settings:
    return parse(f"router: {router}{MODELS}", {})


@pytest.mark.parametrize("router", ["{}", "{autoscale: null}"])
def test_without_the_section_the_store_gets_no_policy(router: str) -> None:
    assert configuration(read(router)).autoscale is None


def test_empty_section_means_the_defaults() -> None:
    assert read("{autoscale: {}}").router.autoscale == AutoscaleSettings()
    assert configuration(read("{autoscale: {}}")).autoscale == AutoscalePolicy(
        target_concurrency=500,
        utilization=0.7,
        min_replicas=2,
        max_replicas=20,
        scale_down_delay_ms=300_000,
        ahead_ms=60_000,
    )


def test_every_setting_arrives() -> None:
    text = (
        "{target_concurrency: 9, utilization: 0.5, min_replicas: 3, max_replicas: 4, scale_down_delay: 90s, ahead: 2m}"
    )

    assert configuration(read(f"{{autoscale: {text}}}")).autoscale == AutoscalePolicy(
        target_concurrency=9,
        utilization=0.5,
        min_replicas=3,
        max_replicas=4,
        scale_down_delay_ms=90_000,
        ahead_ms=120_000,
    )


@pytest.mark.parametrize(
    ("autoscale", "problem"),
    [
        ("{target_concurrency: 0}", "target_concurrency: expected a whole number from 1"),
        ("{target_concurrency: 2.5}", "target_concurrency: expected a whole number from 1"),
        ("{utilization: 0}", "utilization: expected a number above 0 and up to 1"),
        ("{utilization: 70}", "utilization: expected a number above 0 and up to 1"),
        ("{min_replicas: 0}", "min_replicas: expected a whole number from 1"),
        ("{max_replicas: -1}", "max_replicas: expected a whole number from 1"),
        ("{scale_down_delay: 0}", "scale_down_delay: expected a duration above 0"),
        ("{scale_down_delay: soon}", "scale_down_delay: expected a duration above 0"),
        ("{ahead: 61m}", "ahead: expected a duration from 0 to 1h"),
        ("{ahead: -1}", "ahead: expected a duration from 0 to 1h"),
        ("{scale_up_delay: 5s}", "scale_up_delay: unknown key, did you mean scale_down_delay?"),
        ("{min_replicas: 5, max_replicas: 4}", "max_replicas: less than router.autoscale.min_replicas"),
        ("{min_replicas: 50}", "max_replicas: less than router.autoscale.min_replicas"),
    ],
)
def test_bad_value_is_refused_with_its_path(autoscale: str, problem: str) -> None:
    (found,) = problems(autoscale)

    assert found.startswith(f"router.autoscale.{problem}")


def test_something_else_than_a_section_is_refused() -> None:
    assert problems("5") == ["router.autoscale: expected a mapping"]
