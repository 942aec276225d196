"""Reads the usage of replies, in the dialects of all providers."""

import math

import msgspec

from gateway.json.lenient import as_text
from gateway.request.token_bounds import TOKENS_MOST


class CacheDetails(msgspec.Struct, frozen=True):
    cached_tokens: float | None = None


class Usage(msgspec.Struct, frozen=True):
    """Token counts of a reply. Some imitators of OpenAI send floats or null. Each count has two names: one in chat
    completions, one in messages and responses. Cached tokens are part of these counts, except at Anthropic, which
    counts them separately.
    """

    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    cache_creation_input_tokens: float | None = None
    cache_read_input_tokens: float | None = None
    prompt_tokens_details: CacheDetails | None = None
    input_tokens_details: CacheDetails | None = None


def lenient_usage(value: object) -> Usage | None:
    """Returns usage with the counts that are readable, including floats and numbers in quotes."""
    if not isinstance(value, dict):
        return None
    counts = {name: _count(value.get(name)) for name in _COUNTS}
    parts = {name: value[name] for name in _DETAILS if isinstance(value.get(name), dict)}
    details = {name: CacheDetails(_count(part.get("cached_tokens"))) for name, part in parts.items()}
    return msgspec.convert(counts | details, Usage)


_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_COUNTS = [name for name in Usage.__struct_fields__ if name not in _DETAILS]


def _count(value: object) -> float | None:
    try:
        count = float(as_text(value) or "nothing")
    except ValueError:
        return None
    return count if math.isfinite(count) else None


def usage_tokens(usage: Usage) -> tuple[int, int, int]:
    """Returns input tokens, output tokens, and the cached tokens that are not among them, as the provider counted them;
    0 where it did not, and bounded by what the store can add up. ``prompt_tokens`` always include cached ones.
    """
    cached = 0.0
    if usage.prompt_tokens is None:
        cached = (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
    return (
        _whole(usage.prompt_tokens or usage.input_tokens or 0),
        _whole(usage.completion_tokens or usage.output_tokens or 0),
        _whole(cached),
    )


def cache_share(usage: Usage) -> float:
    """Returns the share of the prompt that was read from the provider's cache; -1 where the provider did not report
    it.
    """
    details = usage.prompt_tokens_details or usage.input_tokens_details
    read = usage.cache_read_input_tokens if details is None else details.cached_tokens
    prompt = usage.prompt_tokens or usage.input_tokens or 0
    if details is None and usage.prompt_tokens is None:
        prompt += (usage.cache_creation_input_tokens or 0) + (read or 0)
    return -1.0 if read is None or prompt <= 0 else min(1.0, max(0.0, read / prompt))


def _whole(count: float) -> int:
    return int(min(max(count, 0), TOKENS_MOST))
