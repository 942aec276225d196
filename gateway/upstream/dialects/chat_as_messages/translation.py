"""Translation for a client of OpenAI chat completions whose provider is Anthropic Messages: request, reply, stream."""

from gateway.upstream.dialects.chat_as_messages.reply import reply
from gateway.upstream.dialects.chat_as_messages.request import Abilities, request
from gateway.upstream.dialects.chat_as_messages.stream import Stream

__all__ = ["Abilities", "Stream", "reply", "request"]
