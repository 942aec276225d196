"""What a configuration means for the shared state: one fingerprint, and one form that other releases can read."""

import msgspec
import pytest

from shared_state.policies import AutoscalePolicy, Configuration, fingerprinted, from_published, published
from tests.support.state import deployment_policy, router_policy

ONE, TWO = deployment_policy("one", limit=3, model="m"), deployment_policy("two", rpm=60)
SCALED = AutoscalePolicy(
    target_concurrency=9, utilization=0.5, min_replicas=1, max_replicas=3, scale_down_delay_ms=1000
)
BASE = fingerprinted(Configuration(0, router_policy(), (ONE, TWO), SCALED, "eu"))


def changed(**fields: object) -> Configuration:
    return fingerprinted(msgspec.structs.replace(BASE, **fields))


def test_fingerprint_is_the_same_whatever_the_order_the_version_or_the_region() -> None:
    assert changed(deployments=(TWO, ONE), version=7, region="us").fingerprint == BASE.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        changed(router=router_policy(failure_threshold=4)),
        changed(deployments=(ONE,)),
        changed(deployments=(ONE, deployment_policy("two", rpm=61))),
        changed(deployments=(ONE, deployment_policy("two", rpm=60, model="other"))),
        changed(autoscale=None),
    ],
    ids=["router", "deployment", "limit", "model", "autoscale"],
)
def test_fingerprint_tells_what_replicas_must_have_in_common(other: Configuration) -> None:
    assert other.fingerprint != BASE.fingerprint


def test_published_configuration_is_the_same_to_a_replica_with_another_file() -> None:
    other = changed(deployments=(deployment_policy("one", limit=9),), region="us")
    read = from_published(published(BASE), other)

    assert (read.fingerprint, read.region, read.version) == (BASE.fingerprint, "us", 0)
    assert {policy.id: policy for policy in read.deployments} == {"one": ONE, "two": TWO}


def test_fields_of_another_release_are_left_out_or_the_own_ones() -> None:
    document = msgspec.json.decode(published(BASE))
    document["router"] = {"failure_threshold": 9, "novel": True}
    document["deployments"] = [{"id": "one", "limit": 8, "novel": 1}]
    read = from_published(msgspec.json.encode(document), BASE)

    assert read.router == router_policy(failure_threshold=9)
    assert read.deployments == (msgspec.structs.replace(ONE, limit=8),)


def test_deployment_that_cannot_be_understood_is_an_error() -> None:
    document = {"router": {}, "deployments": [{"id": "unknown", "limit": 8}]}

    with pytest.raises(msgspec.ValidationError):
        from_published(msgspec.json.encode(document), BASE)
