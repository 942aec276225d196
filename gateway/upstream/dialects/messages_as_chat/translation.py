"""A client of Anthropic's Messages API, served by a provider of OpenAI's chat completions.

docs/dialects-messages-as-chat.md lists what becomes of each field.
"""

from gateway.upstream.dialects.messages_as_chat.reply import reply
from gateway.upstream.dialects.messages_as_chat.request import Vocabulary, request
from gateway.upstream.dialects.messages_as_chat.stream import Stream

__all__ = ["Stream", "Vocabulary", "reply", "request"]
