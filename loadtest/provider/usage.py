"""The usage of an answer in both dialects. ``cached``: the tokens of the prompt that came from a cache; None without
one.
"""

from typing import Any


def openai_usage(prompt: int, cached: int | None, output: int) -> dict[str, Any]:
    details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    return usage | details


def anthropic_usage(prompt: int, cached: int | None, output: int) -> dict[str, int]:
    """The cached tokens are not among the tokens in."""
    if cached is None:
        return {"input_tokens": prompt, "output_tokens": output}
    cache = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": cached}
    return {"input_tokens": prompt - cached, "output_tokens": output, **cache}
