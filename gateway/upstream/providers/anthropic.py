"""Anthropic: one endpoint. Bodies from Anthropic's own clients pass as bytes."""

import re

from gateway.configuration.provider import ProviderSettings
from gateway.request.calls import Call, Kind, with_fields

VERSION = "2023-06-01"  # the version of the translation, and the default for clients that name none
_HAS_VERSION = re.compile(r"[^/]/v\d[^/]*$")  # in its path: `http://v1` is a host
# Claude 4.6 and earlier models. Later models refuse the fields, so an unknown name gets none of them.
_HAS_SAMPLING = re.compile(r"claude-(?:[123]\b|instant|(?:opus|sonnet|haiku)-4(?:$|@|-(?:[01456]\b|\d{8})))")

# The most tokens that a model writes in one answer, by its name; an unknown model may write as few as the smallest.
_OUTPUT_MOST = (
    (re.compile(r"claude-(?:[12]\b|instant|3-(?:opus|sonnet|haiku)\b)"), 4_096),
    (re.compile(r"claude-3-5-"), 8_192),
    (re.compile(r"claude-opus-4(?:$|@|-(?:[01]\b|\d{8}))"), 32_000),
    (re.compile(r"claude-(?:3-7|(?:opus|sonnet|haiku)-)"), 64_000),
)
_OUTPUT_LEAST = 4_096


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


def output_most(provider: ProviderSettings) -> int:
    """Returns the limit of tokens for clients of other dialects that set none."""
    return next((most for name, most in _OUTPUT_MOST if name.search(provider.model)), _OUTPUT_LEAST)


def body(provider: ProviderSettings, call: Call) -> bytes:
    return call.body if provider.model == call.model else with_fields(call.body, {"model": provider.model})
