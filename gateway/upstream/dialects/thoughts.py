"""Thoughts of a model that its next turn needs, and the marks by which they find their way back.

A client of messages gets the reasoning of a chat model as a thinking block. Its signature names the model's family and
the field that held the reasoning. A client of chat completions gets Claude's thinking blocks in `reasoning_details`.
Other providers refuse both, so each provider gets only what its own models made.
"""

import msgspec

from gateway.upstream.dialects.call_ids import MARK
from gateway.upstream.dialects.origin import family_of

FIELDS = ("reasoning_content", "reasoning")  # of chat messages and deltas, the usual one first
PARTS = "content"  # Mistral's reasoning stands among the parts of the content
_DEMANDING = frozenset({"deepseek", "kimi"})  # families that refuse a turn with calls and without its reasoning


class Source(msgspec.Struct, frozen=True):
    """Where a thinking block comes from."""

    family: str
    field: str

    @property
    def signature(self) -> str:
        return f"{MARK}.{self.family}.{self.field}"


def field_for(model: str, signature: str | None) -> str | None:
    """Returns the field in which a model gets back a thought with this signature; None for a thought of another
    family. DeepSeek's and Kimi's models demand one, of any origin.
    """
    mark, _, rest = (signature or "").partition(".")
    family, _, field = rest.partition(".")
    wanted = family_of(model)
    if mark == MARK and family == wanted and field in FIELDS and (field == FIELDS[0] or family in _DEMANDING):
        return field
    return FIELDS[0] if wanted in _DEMANDING else None
