"""Translates the thinking of a messages request, as docs/dialects-messages-as-chat.md lists it."""

from typing import Literal

import msgspec

from gateway.upstream.dialects import known_models

# Efforts in words that every reasoning model knows, and the least budgets for them.
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_EFFORT_OF_BUDGET = ((16_384, "high"), (4096, "medium"), (-(2**63), "low"))


class Thinking(msgspec.Struct, frozen=True):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class Switch(msgspec.Struct, frozen=True):
    """The thinking of a chat request, at providers that have a field for it."""

    type: Literal["enabled", "disabled"]


def effort(given: str | None, thinking: Thinking | None, model: str, has_limited_tools: bool) -> str | None:
    """Returns `reasoning_effort` for the effort of a request, or for its budget where it names no effort.
    ``has_limited_tools``: the request has tools, next to which the provider refuses some efforts.
    """
    if given is None and thinking and thinking.type == "enabled" and thinking.budget_tokens is not None:
        budget = thinking.budget_tokens
        given = next((word for least, word in _EFFORT_OF_BUDGET if budget >= least), None)
    known = _EFFORTS.get(given or "")
    return known_models.effort_with_tools(model, known) if has_limited_tools else known


def switch(thinking: Thinking | None) -> Switch | None:
    if thinking is None:
        return None
    if thinking.type == "disabled":
        return Switch("disabled")
    return Switch("enabled") if thinking.type in ("enabled", "adaptive") else None
