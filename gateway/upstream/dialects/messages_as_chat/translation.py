"""Translation for a client of Anthropic Messages whose provider is OpenAI chat completions: request, reply, stream.

docs/dialects-messages-as-chat.md lists the translation of each field.
"""

from gateway.upstream.dialects.messages_as_chat.reply import reply
from gateway.upstream.dialects.messages_as_chat.request import request
from gateway.upstream.dialects.messages_as_chat.stream import Stream
from gateway.upstream.dialects.vocabulary import Vocabulary

__all__ = ["Stream", "Vocabulary", "reply", "request"]
