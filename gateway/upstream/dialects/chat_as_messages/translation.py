"""An OpenAI chat completions client served by an Anthropic Messages provider: the three translations in one place."""

from gateway.upstream.dialects.chat_as_messages.reply import reply
from gateway.upstream.dialects.chat_as_messages.request import request
from gateway.upstream.dialects.chat_as_messages.stream import Stream

__all__ = ["Stream", "reply", "request"]
