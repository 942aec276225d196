"""Metrics of regions."""

from gateway.configuration.settings import DeploymentSettings
from gateway.telemetry.cluster_metrics import ClusterMetrics
from shared_state.ledger import Ledger

WORLD = [
    DeploymentSettings(id="a", model_name="m", region="eu"),
    DeploymentSettings(id="b", model_name="m", region="us"),
    DeploymentSettings(id="c", model_name="m", region="us"),
    DeploymentSettings(id="d", model_name="m"),
]
ATTEMPTS = {("a", "success"): 5, ("b", "success"): 3, ("b", "failure"): 1, ("c", "success"): 2, ("d", "success"): 9}


def test_calls_to_other_regions_are_added_up() -> None:
    assert ClusterMetrics(WORLD, Ledger(), region="eu").spilled(ATTEMPTS) == {("eu", "us"): 6}
    assert ClusterMetrics(WORLD, Ledger(), region="us").spilled(ATTEMPTS) == {("us", "eu"): 5}


def test_replica_of_no_region_spills_nothing() -> None:
    assert ClusterMetrics(WORLD, Ledger()).spilled(ATTEMPTS) == {}
