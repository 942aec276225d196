"""The system prompt, and its volatile first line."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.dialects.messages_as_chat import translation as messages_as_chat

LINE = "x-anthropic-billing-header: cc_version=2.1.197.{}; cc_entrypoint=sdk-cli;"
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1)


def sent(system: Any) -> str:
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}], "system": system}
    first = json.loads(messages_as_chat.request(json.dumps(body).encode(), "m"))["messages"][0]
    assert first["role"] == "system"
    text: str = first["content"]
    return text


def blocks(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


@given(texts=TEXTS)
def test_prompts_that_differ_in_the_volatile_line_only_begin_alike(texts: list[str]) -> None:
    one, other = (sent(blocks(LINE.format(build), *texts)) for build in ("123", "456"))

    assert one.removesuffix(LINE.format("123")) == other.removesuffix(LINE.format("456"))


@given(texts=TEXTS)
def test_prompt_keeps_all_of_its_text(texts: list[str]) -> None:
    line, rest = LINE.format("123"), "\n\n".join(texts).lstrip("\n")

    assert sent(blocks(line, *texts)) == (f"{rest}\n\n{line}" if rest else line)


@pytest.mark.parametrize(
    ("system", "text"),
    [
        ("x-anthropic-billing-header: a;\nBe kind.", "Be kind.\n\nx-anthropic-billing-header: a;"),
        (
            blocks("x-anthropic-billing-header: a;\nBe kind.", "Rules"),
            "Be kind.\n\nRules\n\nx-anthropic-billing-header: a;",
        ),
        (blocks("x-anthropic-billing-header: a;"), "x-anthropic-billing-header: a;"),
        ("Explain x-anthropic-billing-header: to me.", "Explain x-anthropic-billing-header: to me."),
        (blocks("Be kind.", "x-anthropic-billing-header: a;"), "Be kind.\n\nx-anthropic-billing-header: a;"),
    ],
)
def test_only_a_first_line_moves(system: Any, text: str) -> None:
    assert sent(system) == text
