"""Which deployments fail together."""

import pytest

from gateway.configuration.settings import ConfigurationError, parse
from gateway.configuration.store_policies import configuration

ENTRY = "{{id: {0}, model_name: m, provider: {{base_url: '{1}', api_key: sk-1}}{2}}}"


def groups(*entries: tuple[str, str, str]) -> dict[str, tuple[str | None, int | None]]:
    """Entries as id, address, further settings. Returns group and size by id."""
    listed = ", ".join(ENTRY.format(name, url, f", {more}" if more else "") for name, url, more in entries)
    policies = configuration(parse(f"model_list: [{listed}]\n", {})).deployments
    return {policy.id: (policy.group, policy.group_size) for policy in policies}


def test_deployments_of_one_address_are_a_group_whatever_their_path_and_spelling() -> None:
    found = groups(
        ("a", "https://api.example.com/v1", ""),
        ("b", "https://API.example.com:443/other", ""),
        ("c", "https://api.example.com:8443/v1", ""),
        ("d", "http://api.example.com/v1", ""),
    )

    assert found["a"] == found["b"] == ("https://api.example.com:443", 2)
    assert found["c"] == found["d"] == (None, None)


def test_named_group_goes_before_the_address() -> None:
    found = groups(
        ("a", "https://one.example.com/v1", "provider_group: eu"),
        ("b", "https://two.example.com/v1", "provider_group: eu"),
        ("c", "https://one.example.com/v1", ""),
    )

    assert found == {"a": ("eu", 2), "b": ("eu", 2), "c": (None, None)}


def test_disabled_deployments_and_other_domains_do_not_count() -> None:
    found = groups(
        ("a", "https://one.example.com/v1", ""),
        ("b", "https://one.example.com/v1", "enabled: false"),
        ("c", "https://one.example.com/v1", "domain: elsewhere"),
    )

    assert found == {"a": (None, None), "c": (None, None)}


def test_address_of_version_six_keeps_its_brackets() -> None:
    found = groups(("a", "http://[::1]:8080/v1", ""), ("b", "http://[::1]:8080/v2", ""))

    assert found["a"] == ("http://[::1]:8080", 2)


def test_long_addresses_stay_short_and_apart() -> None:
    host = "x" * 60
    found = groups(
        ("a", f"https://{host}.example.com/v1", ""),
        ("b", f"https://{host}.example.com/v2", ""),
        ("c", f"https://{host}.example.org/v1", ""),
    )

    assert found["a"] == found["b"]
    assert found["a"][0] is not None
    assert len(found["a"][0]) == 64
    assert found["c"] == (None, None)


@pytest.mark.parametrize("name", ["", "7", "1e5", "inf", "a b", "a{b}", "x" * 65])
def test_name_that_a_key_cannot_hold_is_refused_with_its_path(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        groups(("a", "https://one.example.com/v1", f"provider_group: '{name}'"))

    assert [problem.path for problem in caught.value.problems] == ["model_list[0].provider_group"]
