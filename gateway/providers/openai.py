"""OpenAI and every server that speaks like it: bodies pass as bytes. Only the model's name may have to change, and a
stream is asked for its usage.
"""

from typing import Any
from urllib.parse import urlsplit

from gateway.calls import Call, Kind, with_fields
from gateway.settings import LimitField, ProviderSettings

KINDS = frozenset({Kind.CHAT, Kind.COMPLETION, Kind.EMBEDDING, Kind.RESPONSE})
_HAS_USAGE_OPTION = frozenset({Kind.CHAT, Kind.COMPLETION})


def address(provider: ProviderSettings, kind: Kind) -> str:
    return provider.base_url.rstrip("/") + kind.value


def headers(provider: ProviderSettings) -> dict[str, str]:
    return {"authorization": f"Bearer {provider.api_key}"} if provider.api_key else {}


def limit_field(provider: ProviderSettings) -> LimitField:
    """OpenAI's own models all know the new name, and its reasoning models refuse the old one. Most other servers know
    the old one only.
    """
    if provider.limit_field:
        return provider.limit_field
    host = urlsplit(provider.base_url).hostname or ""
    is_openai = f".{host}".endswith(".api.openai.com")  # or one of its regions
    return "max_completion_tokens" if is_openai else "max_tokens"


def asks_for_usage(provider: ProviderSettings, call: Call) -> bool:
    """The gateway wants to know the usage of a stream whose client does not."""
    return call.is_stream and provider.stream_usage and not call.include_usage and call.kind in _HAS_USAGE_OPTION


def body(provider: ProviderSettings, call: Call) -> bytes:
    changed: dict[str, Any] = {}
    if provider.model != call.model:
        changed["model"] = provider.model
    if asks_for_usage(provider, call):
        changed["stream_options"] = {"include_usage": True}
    return with_fields(call.body, changed) if changed else call.body
