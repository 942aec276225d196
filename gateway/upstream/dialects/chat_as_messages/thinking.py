"""Translates `reasoning_effort` to the thinking of a messages request, and the thoughts of its history.

Thinking has conditions that a chat request does not know: room below `max_tokens`, a free choice among the tools, and
with a budget a signed thinking block before the calls that are being answered. Where one is not met, the request goes
without thinking, for the provider would refuse it.
"""

from collections.abc import Sequence

import msgspec

from gateway.configuration.provider import Reasoning
from gateway.json.lenient import NOT_DECODED
from gateway.upstream.dialects.call_ids import MARK
from gateway.upstream.dialects.chat_as_messages.blocks import (
    Block,
    RedactedThinkingBlock,
    Thinking,
    ThinkingBlock,
    ToolChoice,
    ToolResultBlock,
    Turn,
)
from gateway.upstream.dialects.known_models import has_xhigh

_FORMATS = (MARK, "anthropic")  # of thoughts that Claude signed, as OpenRouter calls them
_BUDGET_LEAST = 1024  # tokens; Anthropic refuses fewer
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768, "max": 32_768}
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}


class Wanted(msgspec.Struct, frozen=True):
    """The thinking of a request."""

    thinking: Thinking | None = None
    effort: str | None = None


class _Detail(msgspec.Struct, frozen=True):
    type: str
    text: str | None = None
    signature: str | None = None
    data: str | None = None
    format: str | None = None


_details = msgspec.json.Decoder(list[_Detail])


def thought_blocks(details: msgspec.Raw) -> list[Block]:
    """Returns the thinking blocks in `reasoning_details`, which is no field of OpenAI's: what is unreadable or not
    Claude's is left out.
    """
    try:
        decoded = _details.decode(details)
    except NOT_DECODED:
        return []
    blocks: list[Block] = []
    for detail in decoded:
        if not (detail.format or "").startswith(_FORMATS):
            continue
        if detail.type == "reasoning.text" and detail.signature:
            blocks.append(ThinkingBlock(detail.text or "", detail.signature))
        elif detail.type == "reasoning.encrypted" and detail.data:
            blocks.append(RedactedThinkingBlock(detail.data))
    return blocks


def wanted(
    effort: str | None, model: str, style: Reasoning, max_tokens: int, choice: ToolChoice | None, turns: Sequence[Turn]
) -> Wanted:
    """Returns the thinking for an effort, as docs/dialects-chat-as-messages.md lists it."""
    if effort not in _EFFORTS or style == "none":
        return Wanted()
    is_forced = choice is not None and choice.type in ("any", "tool")
    is_free = not is_forced and turns[-1].role == "user"
    if style == "effort":
        level = _EFFORTS[effort]
        if (level == "xhigh" and not has_xhigh(model)) or (not is_free and level in ("xhigh", "max")):
            level = "high"
        return Wanted(Thinking("adaptive") if is_free else None, level)
    budget = min(_BUDGETS[effort], max_tokens * 3 // 4)
    if budget < _BUDGET_LEAST or not is_free or not _is_signed(turns):
        return Wanted()
    return Wanted(Thinking("enabled", budget))


def _is_signed(turns: Sequence[Turn]) -> bool:
    """Returns whether the calls that the last turn answers, if any, follow a thinking block."""
    if not any(isinstance(block, ToolResultBlock) for block in turns[-1].content):
        return True
    return isinstance(turns[-2].content[0], ThinkingBlock | RedactedThinkingBlock)


def without_thoughts(turns: Sequence[Turn]) -> list[Turn]:
    """Returns the turns for a request without thinking."""
    kinds = ThinkingBlock | RedactedThinkingBlock
    return [Turn(turn.role, [block for block in turn.content if not isinstance(block, kinds)]) for turn in turns]
