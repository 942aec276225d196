"""A client of Anthropic's Messages API, served by a provider of OpenAI's chat completions.

docs/dialects-messages_as_chat.md lists what becomes of each field.
"""

from gateway.dialects.messages_as_chat_reply import reply
from gateway.dialects.messages_as_chat_request import request
from gateway.dialects.messages_as_chat_stream import Stream

__all__ = ["Stream", "reply", "request"]
