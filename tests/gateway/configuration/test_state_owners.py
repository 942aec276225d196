"""The memory of owners: its bounds, and which deployments are of one account."""

import pytest

from gateway.configuration.settings import ConfigurationError, parse
from gateway.configuration.store_policies import configuration

MODELS = """
model_list:
  - {id: a, model_name: m, provider: {base_url: "http://x/v1", api_key: key-1, model: big}}
  - {id: b, model_name: m, provider: {base_url: "http://x/v1", api_key: key-2}}
  - {id: c, model_name: n, provider: {base_url: "http://x/v1", api_key: key-1, stream_usage: false}}
  - {id: d, model_name: n, provider: {base_url: "http://y/v1", api_key: key-1}}
"""


def test_deployments_with_the_same_address_and_key_are_of_one_account() -> None:
    policies = configuration(parse(MODELS, {})).deployments

    assert {policy.id: policy.account for policy in policies} == {"a": None, "b": None, "c": "@a", "d": None}


def test_disabled_deployment_names_no_account() -> None:
    text = MODELS.replace("{id: a,", "{id: a, enabled: false,")
    policies = configuration(parse(text, {})).deployments

    assert {policy.id: policy.account for policy in policies} == {"b": None, "c": None, "d": None}


@pytest.mark.parametrize(
    ("setting", "path"),
    [
        ("ttl: 0", "router.state_owners.ttl"),
        ("ttl: -1s", "router.state_owners.ttl"),
        ("ttl: 1s", "router.state_owners.ttl"),
        ("ttl: 401d", "router.state_owners.ttl"),
        ("ttl: soon", "router.state_owners.ttl"),
        ("max_entries: 0", "router.state_owners.max_entries"),
        ("max_entries: -5", "router.state_owners.max_entries"),
        ("most: 5", "router.state_owners.most"),
    ],
)
def test_bound_that_is_none_is_refused_with_its_path(setting: str, path: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(f"router: {{state_owners: {{{setting}}}}}\n{MODELS}", {})

    assert [problem.path for problem in refused.value.problems] == [path]


def test_bounds_are_read() -> None:
    owners = parse(f"router: {{state_owners: {{ttl: 90d, max_entries: 5}}}}\n{MODELS}", {}).router.state_owners

    assert (owners.ttl_ms, owners.max_entries) == (90 * 86_400_000, 5)
