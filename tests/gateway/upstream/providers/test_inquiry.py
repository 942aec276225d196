"""Where a provider is queried without cost, and with what headers."""

import pytest

from gateway.configuration.provider import ProviderSettings, ProviderType
from gateway.configuration.value_types import Secret
from gateway.upstream.providers import inquiry


@pytest.mark.parametrize(
    ("kind", "base_url", "version", "address"),
    [
        ("openai", "https://api.openai.com/v1", "", "https://api.openai.com/v1/models"),
        ("anthropic", "https://api.anthropic.com", "", "https://api.anthropic.com/v1/models"),
        ("azure", "https://r.example.com", "", "https://r.example.com/openai/v1/models"),
        ("azure", "https://r.example.com", "2024-10-21", "https://r.example.com/openai/models?api-version=2024-10-21"),
    ],
)
def test_path_is_appended_where_the_endpoints_are(
    kind: ProviderType, base_url: str, version: str, address: str
) -> None:
    assert inquiry.address(ProviderSettings(type=kind, base_url=base_url, api_version=version)) == address


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [("openai", "authorization", "Bearer sk-1"), ("anthropic", "x-api-key", "sk-1"), ("azure", "api-key", "sk-1")],
)
def test_key_goes_along_as_the_provider_wants_it(kind: ProviderType, name: str, value: str) -> None:
    assert inquiry.headers(ProviderSettings(type=kind, api_key=Secret("sk-1")))[name] == value
