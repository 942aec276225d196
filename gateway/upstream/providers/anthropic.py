"""Anthropic: one endpoint. Bodies from Anthropic's own clients pass as bytes.

On Vertex the address names the model and whether the answer is a stream, and the body names the version. An address
that ends in `/publishers/anthropic` is one of Vertex.
"""

import re
from typing import Any
from urllib.parse import quote

from gateway.configuration.provider import ProviderSettings
from gateway.request.calls import Call, Kind, with_fields
from gateway.upstream.dialects.own_marks import without_thoughts_in_messages

VERSION = "2023-06-01"  # the version of the translation, and the default for clients that name none
KNOWN_HEADERS = frozenset({"anthropic-beta", "idempotency-key"})
_VERTEX_VERSION = "vertex-2023-10-16"
_IS_VERTEX = re.compile(r"/publishers/anthropic/?$")
_HAS_VERSION = re.compile(r"[^/]/v\d[^/]*$")  # in its path: `http://v1` is a host
# Claude 4.6 and earlier models. Later models refuse the fields, so an unknown name gets none of them.
_HAS_SAMPLING = re.compile(r"claude-(?:[123]\b|instant|(?:opus|sonnet|haiku)-4(?:$|@|-(?:[01456]\b|\d{8})))")


def is_on_vertex(provider: ProviderSettings) -> bool:
    return bool(_IS_VERTEX.search(provider.base_url))


def base(provider: ProviderSettings) -> str:
    """Returns the address with a version at its end: Anthropic's own clients are configured without it."""
    url = provider.base_url.rstrip("/")
    return url if is_on_vertex(provider) or _HAS_VERSION.search(url) else f"{url}/v1"


def address(provider: ProviderSettings, *, is_stream: bool = False) -> str:
    if is_on_vertex(provider):
        method = "streamRawPredict" if is_stream else "rawPredict"
        return f"{base(provider)}/models/{quote(provider.model, safe='@')}:{method}"
    return base(provider) + Kind.MESSAGE.value


def headers(provider: ProviderSettings) -> dict[str, str]:
    if not provider.api_key:
        return {"anthropic-version": VERSION}
    is_bearer = provider.bearer or is_on_vertex(provider)
    key = f"Bearer {provider.api_key}" if is_bearer else str(provider.api_key)
    return {"anthropic-version": VERSION, "authorization" if is_bearer else "x-api-key": key}


def has_sampling(provider: ProviderSettings) -> bool:
    """Returns whether the model accepts `temperature` and `top_p`."""
    return bool(_HAS_SAMPLING.search(provider.model)) if provider.sampling is None else provider.sampling


def placed(provider: ProviderSettings, body: bytes) -> bytes:
    """Returns the body as the provider's address needs it. Raises InvalidRequest as `with_fields` does."""
    if not is_on_vertex(provider):
        return body
    return with_fields(body, {"anthropic_version": _VERTEX_VERSION}, without=("model",))


def body(provider: ProviderSettings, call: Call) -> bytes:
    """Returns the client's body. Only the model's name, a limit above the model's, and thoughts of other providers'
    models may change.
    """
    kept = without_thoughts_in_messages(call.body)
    changed: dict[str, Any] = {} if provider.model == call.model else {"model": provider.model}
    if provider.max_output and call.output_most > provider.max_output:
        changed["max_tokens"] = provider.max_output
    return placed(provider, with_fields(kept, changed) if changed else kept)
