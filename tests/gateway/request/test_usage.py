"""The usage of replies, as the providers' own documentation shows it: each in its dialect, all in one form."""

from typing import Any

import msgspec
import pytest

from gateway.request.calls import Kind, tokens_of
from shared_state.records import TokenCounts

ANSWERS: dict[Kind, dict[str, Any]] = {
    Kind.CHAT: {"choices": []},
    Kind.MESSAGE: {"content": []},
    Kind.RESPONSE: {"output": []},
}


def counts(kind: Kind, usage: object) -> TokenCounts:
    return tokens_of(kind, msgspec.json.encode({**ANSWERS[kind], "usage": usage}))


DOCUMENTED: dict[str, tuple[Kind, dict[str, Any], TokenCounts]] = {
    "Anthropic, Prompt caching: a book is written to the cache": (
        Kind.MESSAGE,
        {
            "input_tokens": 21,
            "cache_creation_input_tokens": 188_086,
            "cache_read_input_tokens": 0,
            "output_tokens": 393,
        },
        TokenCounts(21, 393, written=188_086, outside=188_086),
    ),
    "Anthropic, Prompt caching: the book is read from the cache": (
        Kind.MESSAGE,
        {
            "input_tokens": 21,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 188_086,
            "output_tokens": 393,
        },
        TokenCounts(21, 393, read=188_086, outside=188_086),
    ),
    "Anthropic, 1-hour cache duration": (
        Kind.MESSAGE,
        {
            "input_tokens": 2048,
            "cache_read_input_tokens": 1800,
            "cache_creation_input_tokens": 248,
            "output_tokens": 503,
            "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100},
        },
        TokenCounts(2048, 503, read=1800, written=248, kept=100, outside=2048),
    ),
    "OpenAI, Prompt caching": (
        Kind.CHAT,
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920},
            "completion_tokens_details": {"reasoning_tokens": 0, "accepted_prediction_tokens": 0},
        },
        TokenCounts(86, 300, read=1920),
    ),
    "OpenAI, Reasoning models": (
        Kind.RESPONSE,
        {
            "input_tokens": 75,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1186,
            "output_tokens_details": {"reasoning_tokens": 1024},
            "total_tokens": 1261,
        },
        TokenCounts(75, 1186),
    ),
    "OpenAI, tokens written to the cache": (
        Kind.CHAT,
        {
            "prompt_tokens": 5000,
            "completion_tokens": 10,
            "total_tokens": 5010,
            "prompt_tokens_details": {"cached_tokens": 3000, "cache_write_tokens": 1500},
        },
        TokenCounts(500, 10, read=3000, written=1500),
    ),
    "xAI, Reasoning: apart from the completion": (
        Kind.CHAT,
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "prompt_tokens_details": {"cached_tokens": 6},
            "completion_tokens_details": {"reasoning_tokens": 94},
        },
        TokenCounts(26, 103, read=6),
    ),
    "Gemini, OpenAI compatibility: thinking is only in the total": (
        Kind.CHAT,
        {"prompt_tokens": 9, "completion_tokens": 14, "total_tokens": 350},
        TokenCounts(9, 341),
    ),
    "DeepSeek, Context caching": (
        Kind.CHAT,
        {
            "prompt_tokens": 20,
            "prompt_cache_hit_tokens": 15,
            "prompt_cache_miss_tokens": 5,
            "completion_tokens": 8,
            "total_tokens": 28,
        },
        TokenCounts(5, 8, read=15),
    ),
    "Moonshot, Chat": (
        Kind.CHAT,
        {"prompt_tokens": 19, "completion_tokens": 21, "total_tokens": 40, "cached_tokens": 10},
        TokenCounts(9, 21, read=10),
    ),
}


@pytest.mark.parametrize("example", DOCUMENTED)
def test_documented_usage_is_read(example: str) -> None:
    kind, usage, expected = DOCUMENTED[example]

    assert counts(kind, usage) == expected


@pytest.mark.parametrize(
    ("kind", "usage", "expected"),
    [
        (Kind.CHAT, {"prompt_tokens": 8, "prompt_tokens_details": {"cached_tokens": 9}}, TokenCounts(0, 0, read=8)),
        (
            Kind.CHAT,
            {"prompt_tokens": 8, "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 9}},
            TokenCounts(0, 0, read=6, written=2),
        ),
        (Kind.CHAT, {"prompt_tokens": 8, "prompt_tokens_details": {"cached_tokens": -5}}, TokenCounts(8)),
        (Kind.CHAT, {"prompt_tokens": 8, "completion_tokens": 4, "total_tokens": 3}, TokenCounts(8, 4)),
        (Kind.CHAT, {"prompt_tokens": 8, "completion_tokens": 4, "total_tokens": 1e300}, TokenCounts(8, 999_999_991)),
        (
            Kind.CHAT,
            {
                "prompt_tokens": 8,
                "completion_tokens": 4,
                "total_tokens": 99,
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
            TokenCounts(8, 9),
        ),
        (
            Kind.MESSAGE,
            {
                "input_tokens": 1,
                "cache_creation_input_tokens": 5,
                "cache_creation": {"ephemeral_1h_input_tokens": 9},
            },
            TokenCounts(1, 0, written=5, kept=5, outside=5),
        ),
    ],
)
def test_part_never_exceeds_its_whole(kind: Kind, usage: dict[str, Any], expected: TokenCounts) -> None:
    assert counts(kind, usage) == expected


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": "9", "prompt_tokens_details": {"cached_tokens": "4"}},
        {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": "4"}, "completion_tokens_details": []},
        {"prompt_tokens": 9, "cached_tokens": 4, "prompt_tokens_details": "none"},
        {"prompt_tokens": 9, "cache_read_input_tokens": 4, "cache_creation": 7},
    ],
)
def test_odd_details_are_read_as_far_as_they_can_be(usage: dict[str, Any]) -> None:
    assert counts(Kind.CHAT, usage) == TokenCounts(5, 0, read=4)


def test_limits_count_what_the_provider_counts_and_prices_count_everything() -> None:
    message = TokenCounts(21, 393, read=1000, outside=1000)
    chat = TokenCounts(21, 393, read=1000)

    assert (message.limited, message.prompt) == (414, 1021)
    assert (chat.limited, chat.prompt) == (1414, 1021)
