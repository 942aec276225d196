"""An OpenAI chat completions client served by an Anthropic Messages provider: the three translations in one place."""

from gateway.dialects.chat_as_messages_reply import reply
from gateway.dialects.chat_as_messages_request import request
from gateway.dialects.chat_as_messages_stream import Stream

__all__ = ["Stream", "reply", "request"]
