"""The system prompt of a Messages request as that of a chat completion.

Providers of chat completions cache prompts by their beginning. Claude Code begins its system prompt with a line about
itself, which differs between versions and conversations: everything after it would be new each time.
"""

from collections.abc import Sequence

from gateway.upstream.dialects.messages_as_chat.blocks import TextBlock
from gateway.upstream.dialects.messages_as_chat.turns import paragraphs

VOLATILE = "x-anthropic-billing-header:"


def system_text(content: str | Sequence[TextBlock]) -> str:
    """Returns the text, with a volatile first line moved to its end, after an empty line."""
    text = paragraphs(content)
    if not text.startswith(VOLATILE):
        return text
    line, _, rest = text.partition("\n")
    rest = rest.lstrip("\n")
    return f"{rest}\n\n{line}" if rest else line
