"""Translation for a client of chat completions whose provider has responses only: request, reply, stream.

docs/dialects-chat-as-responses.md lists the translation of each field.
"""

from gateway.upstream.dialects.chat_as_responses.reply import reply
from gateway.upstream.dialects.chat_as_responses.request import request
from gateway.upstream.dialects.chat_as_responses.stream import Stream

__all__ = ["Stream", "reply", "request"]
