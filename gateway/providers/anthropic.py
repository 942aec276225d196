"""Anthropic: one endpoint, whose bodies pass as bytes for its own clients."""

from gateway.calls import Call, Kind, with_fields
from gateway.settings import ProviderSettings

VERSION = "2023-06-01"


def address(provider: ProviderSettings) -> str:
    return provider.base_url.rstrip("/") + Kind.MESSAGE.value


def headers(provider: ProviderSettings) -> dict[str, str]:
    key = {"x-api-key": str(provider.api_key)} if provider.api_key else {}
    return {"anthropic-version": VERSION, **key}


def body(provider: ProviderSettings, call: Call) -> bytes:
    return call.body if provider.model == call.model else with_fields(call.body, {"model": provider.model})
