"""Reads the usage of replies, in the dialects of all providers, as one form: `TokenCounts`."""

import math

import msgspec

from gateway.json.lenient import as_text
from gateway.request.token_bounds import TOKENS_MOST
from shared_state.records import NO_TOKENS, TokenCounts


class InputDetails(msgspec.Struct, frozen=True):
    """Parts of the tokens in."""

    cached_tokens: float | None = None
    cache_write_tokens: float | None = None


class OutputDetails(msgspec.Struct, frozen=True):
    """Parts of the tokens out."""

    reasoning_tokens: float | None = None


class CacheCreation(msgspec.Struct, frozen=True):
    """Parts of the tokens that Anthropic wrote to its cache."""

    ephemeral_1h_input_tokens: float | None = None


class Usage(msgspec.Struct, frozen=True):
    """Token counts of a reply. Some imitators of OpenAI send floats or null. Each count has two names: one in chat
    completions, one in messages and responses. Cached tokens are part of these counts, except at Anthropic, which
    counts them separately.
    """

    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    total_tokens: float | None = None
    cache_creation_input_tokens: float | None = None
    cache_read_input_tokens: float | None = None
    prompt_cache_hit_tokens: float | None = None  # DeepSeek's
    cached_tokens: float | None = None  # Moonshot's
    prompt_tokens_details: InputDetails | None = None
    input_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    output_tokens_details: OutputDetails | None = None
    cache_creation: CacheCreation | None = None


_DETAILS: dict[str, type[InputDetails] | type[OutputDetails] | type[CacheCreation]] = {
    "prompt_tokens_details": InputDetails,
    "input_tokens_details": InputDetails,
    "completion_tokens_details": OutputDetails,
    "output_tokens_details": OutputDetails,
    "cache_creation": CacheCreation,
}
_COUNTS = [name for name in Usage.__struct_fields__ if name not in _DETAILS]


def lenient_usage(value: object) -> Usage | None:
    """Returns usage with the counts that are readable, including floats and numbers in quotes."""
    if not isinstance(value, dict):
        return None
    counts = {name: _count(value.get(name)) for name in _COUNTS}
    details = {
        name: kind(**{part: _count(given.get(part)) for part in kind.__struct_fields__})
        for name, kind in _DETAILS.items()
        if isinstance(given := value.get(name), dict)
    }
    return msgspec.convert(counts | details, Usage)


def _count(value: object) -> float | None:
    try:
        count = float(as_text(value) or "nothing")
    except ValueError:
        return None
    return count if math.isfinite(count) else None


def token_counts(usage: Usage) -> TokenCounts:
    """Returns the counts of a usage: 0 where the provider did not count, and bounded by what the store can add up. A
    part never exceeds its whole.
    """
    prompt = _whole(usage.prompt_tokens or usage.input_tokens)
    output = _whole(usage.completion_tokens or usage.output_tokens)
    details = usage.prompt_tokens_details or usage.input_tokens_details
    is_apart = usage.prompt_tokens is None and details is None
    if usage.total_tokens is not None and not is_apart:
        output += _reasoning_apart(usage, _whole(usage.total_tokens) - prompt - output)
    if is_apart:
        read, written = _whole(usage.cache_read_input_tokens), _whole(usage.cache_creation_input_tokens)
        if not (prompt or output or read or written):
            return NO_TOKENS
        kept = _whole(usage.cache_creation.ephemeral_1h_input_tokens) if usage.cache_creation else 0
        return TokenCounts(prompt, output, read, written, min(kept, written), read + written)
    read = min(prompt, _read_of(usage, details))
    written = min(prompt - read, _whole(details.cache_write_tokens) if details else 0)
    return TokenCounts(prompt - read - written, output, read, written) if prompt or output else NO_TOKENS


def cache_share(usage: Usage, counts: TokenCounts) -> float:
    """Returns the share of the prompt that was read from the provider's cache; -1 where the provider did not report
    it. ``counts``: of this usage.
    """
    details = usage.prompt_tokens_details or usage.input_tokens_details
    reported = (details and details.cached_tokens, usage.cache_read_input_tokens, usage.prompt_cache_hit_tokens)
    is_reported = usage.cached_tokens is not None or any(count is not None for count in reported)
    return counts.read / counts.prompt if is_reported and counts.prompt else -1.0


def _read_of(usage: Usage, details: InputDetails | None) -> int:
    if details is not None and details.cached_tokens is not None:
        return _whole(details.cached_tokens)
    return _whole(usage.cache_read_input_tokens or usage.prompt_cache_hit_tokens or usage.cached_tokens)


def _reasoning_apart(usage: Usage, rest: int) -> int:
    """Returns the reasoning tokens that are part of the total, but not of the tokens out: xAI and Gemini count so.
    ``rest``: of the total, after the tokens in and out.
    """
    details = usage.completion_tokens_details or usage.output_tokens_details
    reasoning = None if details is None else details.reasoning_tokens
    return max(0, rest if reasoning is None else min(rest, _whole(reasoning)))


def _whole(count: float | None) -> int:
    return int(min(max(count, 0), TOKENS_MOST)) if count else 0
