"""The headers of a provider's answer: its request id, its rate limits, and how long it wants no call."""

from collections.abc import Mapping

from gateway.upstream.error_words import try_again_ms
from gateway.upstream.exchange import Exchange
from gateway.upstream.http.response import Response
from gateway.upstream.retry_after import retry_after_ms, served_ms, throttled_ms
from shared_state.records import Outcome

_REQUEST_IDS = frozenset(
    {b"x-request-id", b"request-id", b"apim-request-id", b"x-amzn-requestid", b"x-goog-request-id"}
)
_REQUEST_ID_MOST = 200
_LIMITS_MOST = 32  # headers: Anthropic sends twenty
_VALUE_MOST = 200
_LIMIT = b"ratelimit"


def read_headers(exchange: Exchange, response: Response) -> None:
    """Notes the provider's request id, its rate limits, and for how long it wants no call."""
    waits: dict[bytes, bytes] = {}
    for name, value in response.headers:
        if b"ratelimit" in name or name.startswith(b"retry-after"):
            waits.setdefault(name, value)
        elif name in _REQUEST_IDS and not exchange.request_id and value.isascii() and value.decode().isprintable():
            exchange.request_id = value[:_REQUEST_ID_MOST]
    if exchange.outcome is Outcome.SUCCESS and not waits:
        return
    exchange.limits = _limits(waits)
    dated = {"date": response.date}
    if exchange.outcome is Outcome.SUCCESS:
        exchange.retry_after_ms = served_ms(waits, dated)
    elif not exchange.retry_after_ms:
        exchange.retry_after_ms = retry_after_ms(waits, dated)
        if exchange.outcome is Outcome.THROTTLED and not exchange.retry_after_ms:
            named_ms = try_again_ms(exchange.error) if exchange.error else 0
            exchange.retry_after_ms = throttled_ms(waits, dated) or named_ms


def _limits(headers: Mapping[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """Returns the headers about rate limits under our names, by which they cannot be taken for those of the gateway."""
    found = []
    for name, value in headers.items():
        _, word, rest = name.partition(_LIMIT)
        if word and value.isascii() and value.decode().isprintable():
            found.append((b"x-pllm-provider-" + word + rest, value[:_VALUE_MOST]))
    return tuple(found[:_LIMITS_MOST])
