"""The fake provider's prompt cache: what begins as a prompt it has answered is a hit."""

import json
from typing import Any

import pytest

from gateway.request.calls import Kind as GatewayKind
from gateway.request.calls import usage_of
from gateway.request.usage import cache_share, lenient_usage, token_counts
from loadtest.provider.dialects import Call, Kind, parse, render_answer
from loadtest.provider.prompt_cache import PromptCache

HEADERS = {"anthropic-version": "2023-06-01"}


def call(*contents: str, kind: Kind = Kind.CHAT) -> Call:
    messages = [{"role": "user", "content": content} for content in contents]
    return parse(kind, HEADERS, json.dumps({"model": "m", "max_tokens": 9, "messages": messages}).encode())


def test_later_turn_reads_the_earlier_one() -> None:
    cache = PromptCache()
    first = cache.used(call("a" * 400), most=10)
    second = cache.used(call("a" * 400, "b" * 400), most=10)

    assert first.cached == 0
    assert second.cached == first.tokens
    assert second.tokens > 2 * 100


def test_other_beginning_is_no_hit() -> None:
    cache = PromptCache()
    cache.used(call("a", "b"), most=10)

    assert cache.used(call("c", "b"), most=10).cached == 0


def test_prompts_used_longest_ago_are_forgotten() -> None:
    cache = PromptCache()
    for content in ("a" * 40, "b" * 40, "c" * 40):
        cache.used(call(content), most=2)

    assert cache.used(call("c" * 40), most=2).cached
    assert not cache.used(call("a" * 40), most=2).cached


@pytest.mark.parametrize(("kind", "wire"), [(Kind.CHAT, GatewayKind.CHAT), (Kind.MESSAGE, GatewayKind.MESSAGE)])
def test_both_dialects_report_the_share_that_was_read(kind: Kind, wire: GatewayKind) -> None:
    cache = PromptCache()
    cache.used(call("a" * 4000, kind=kind), most=10)
    used = cache.used(call("a" * 4000, "b" * 1300, kind=kind), most=10)
    usage = usage_of(wire, render_answer(used, 1, ("word",)))

    assert used.cached
    assert usage is not None
    assert cache_share(usage, token_counts(usage)) == pytest.approx(used.cached / used.tokens)


@pytest.mark.parametrize(
    ("usage", "share"),
    [
        ({"prompt_tokens": 10}, -1),
        ({"prompt_tokens": 10, "prompt_tokens_details": None}, -1),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 0}}, 0),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 5}}, 0.5),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": "5"}}, 0.5),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 50}}, 1),
        ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": -5}}, 0),
        ({"prompt_tokens": 10, "prompt_tokens_details": [1]}, -1),
        ({"prompt_tokens": 0, "prompt_tokens_details": {"cached_tokens": 0}}, -1),
        ({"input_tokens": 10, "input_tokens_details": {"cached_tokens": 5}}, 0.5),
        ({"input_tokens": 10, "cache_read_input_tokens": 80, "cache_creation_input_tokens": 10}, 0.8),
        ({"input_tokens": 10, "cache_read_input_tokens": 0}, 0),
        ({"prompt_tokens": 10, "prompt_cache_hit_tokens": 5}, 0.5),
        ({"prompt_tokens": 10, "cached_tokens": 5}, 0.5),
        ({"input_tokens": 10}, -1),
        ({}, -1),
    ],
)
def test_share_of_the_prompt(usage: dict[str, Any], share: float) -> None:
    found = lenient_usage(usage)

    assert found is not None
    assert cache_share(found, token_counts(found)) == pytest.approx(share)
