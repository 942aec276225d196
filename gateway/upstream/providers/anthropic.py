"""Anthropic: one endpoint. Bodies from Anthropic's own clients pass as bytes."""

import re
from typing import Any

from gateway.configuration.provider import ProviderSettings
from gateway.request.calls import Call, Kind, with_fields
from gateway.upstream.dialects.own_marks import without_thoughts_in_messages

VERSION = "2023-06-01"  # the version of the translation, and the default for clients that name none
_HAS_VERSION = re.compile(r"[^/]/v\d[^/]*$")  # in its path: `http://v1` is a host
# Claude 4.6 and earlier models. Later models refuse the fields, so an unknown name gets none of them.
_HAS_SAMPLING = re.compile(r"claude-(?:[123]\b|instant|(?:opus|sonnet|haiku)-4(?:$|@|-(?:[01456]\b|\d{8})))")


def base(provider: ProviderSettings) -> str:
    """Returns the address with a version at its end: Anthropic's own clients are configured without it."""
    url = provider.base_url.rstrip("/")
    return url if _HAS_VERSION.search(url) else f"{url}/v1"


def address(provider: ProviderSettings) -> str:
    return base(provider) + Kind.MESSAGE.value


def headers(provider: ProviderSettings) -> dict[str, str]:
    if not provider.api_key:
        return {"anthropic-version": VERSION}
    key = f"Bearer {provider.api_key}" if provider.bearer else str(provider.api_key)
    return {"anthropic-version": VERSION, "authorization" if provider.bearer else "x-api-key": key}


def has_sampling(provider: ProviderSettings) -> bool:
    """Returns whether the model accepts `temperature` and `top_p`."""
    return bool(_HAS_SAMPLING.search(provider.model)) if provider.sampling is None else provider.sampling


def body(provider: ProviderSettings, call: Call) -> bytes:
    """Returns the client's body. Only the model's name, a limit above the model's, and thoughts of other providers'
    models may change.
    """
    kept = without_thoughts_in_messages(call.body)
    changed: dict[str, Any] = {} if provider.model == call.model else {"model": provider.model}
    if provider.max_output and call.output_most > provider.max_output:
        changed["max_tokens"] = provider.max_output
    return with_fields(kept, changed) if changed else kept
