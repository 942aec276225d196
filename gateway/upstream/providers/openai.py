"""OpenAI and every server with its API: bodies pass as bytes. Only the model's name, a limit above the model's, and
Claude's thoughts may change, and the request of a stream may be extended by a request for its usage.
"""

from typing import Any
from urllib.parse import urlsplit

import msgspec

from gateway.configuration.provider import LimitField, ProviderSettings
from gateway.request.calls import NOT_JSON, Call, Kind, not_json, with_fields
from gateway.upstream.dialects.own_marks import without_thoughts_in_chat

KINDS = frozenset({Kind.CHAT, Kind.COMPLETION, Kind.EMBEDDING, Kind.RESPONSE})
KNOWN_HEADERS = frozenset({"openai-organization", "openai-project", "openai-beta", "idempotency-key"})
_HAS_USAGE_OPTION = frozenset({Kind.CHAT, Kind.COMPLETION})


class _Options(msgspec.Struct, frozen=True):
    stream_options: dict[str, msgspec.Raw] | None = None


class _Limits(msgspec.Struct, frozen=True):
    """The limits of output tokens, each by the name of some kind of call."""

    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None


_limits = msgspec.json.Decoder(_Limits)
_options = msgspec.json.Decoder(_Options)


def address(provider: ProviderSettings, kind: Kind) -> str:
    return provider.base_url.rstrip("/") + kind.value


def headers(provider: ProviderSettings) -> dict[str, str]:
    return {"authorization": f"Bearer {provider.api_key}"} if provider.api_key else {}


def host(provider: ProviderSettings) -> str:
    return urlsplit(provider.base_url).hostname or ""


def limit_field(provider: ProviderSettings) -> LimitField:
    """Returns the name of the token limit. All of OpenAI's own models accept the new name, and its reasoning models
    refuse the old one; most other servers know only the old one.
    """
    if provider.limit_field:
        return provider.limit_field
    is_openai = f".{host(provider)}".endswith(".api.openai.com")  # or one of its regions
    return "max_completion_tokens" if is_openai else "max_tokens"


def requests_usage(provider: ProviderSettings, call: Call) -> bool:
    """Returns whether the gateway requests the usage of a stream whose client does not."""
    return call.is_stream and provider.stream_usage and not call.include_usage and call.kind in _HAS_USAGE_OPTION


def body(provider: ProviderSettings, call: Call) -> bytes:
    kept = without_thoughts_in_chat(call.body) if call.kind is Kind.CHAT else call.body
    changed: dict[str, Any] = {}
    if provider.model != call.model:
        changed["model"] = provider.model
    if requests_usage(provider, call):
        changed["stream_options"] = {**_stream_options(call.body), "include_usage": True}
    if provider.max_output and call.output_most > provider.max_output:
        changed |= _lowered(call.body, provider.max_output)
    return with_fields(kept, changed) if changed else kept


def _lowered(body: bytes, most: int) -> dict[str, Any]:
    """Returns the limits of a request that are above the model's. Raises InvalidRequest as `with_fields` does."""
    try:
        limits = _limits.decode(body)
    except NOT_JSON as error:
        raise not_json(error) from error
    given = {name: getattr(limits, name) for name in _Limits.__struct_fields__}
    return {name: most for name, value in given.items() if isinstance(value, int | float) and value > most}


def _stream_options(body: bytes) -> dict[str, Any]:
    """Returns the options that the client has set itself. Raises InvalidRequest as `with_fields` does."""
    if b"stream_options" not in body:
        return {}
    try:
        return _options.decode(body).stream_options or {}
    except NOT_JSON as error:
        raise not_json(error) from error
