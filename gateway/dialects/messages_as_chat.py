"""A client of Anthropic's Messages API, served by a provider of OpenAI's chat completions.

docs/dialects-messages-as-chat.md lists what becomes of each field.
"""

from gateway.dialects.messages_as_chat_reply import reply
from gateway.dialects.messages_as_chat_request import Vocabulary, request
from gateway.dialects.messages_as_chat_stream import Stream

__all__ = ["Stream", "Vocabulary", "reply", "request"]
