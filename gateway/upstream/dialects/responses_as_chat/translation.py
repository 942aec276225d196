"""Translation for a client of responses whose provider has chat completions: request, reply, stream.

docs/dialects-responses-as-chat.md lists the translation of each field.
"""

from gateway.upstream.dialects.responses_as_chat.reply import reply
from gateway.upstream.dialects.responses_as_chat.request import Translated, request, translated
from gateway.upstream.dialects.responses_as_chat.stream import Stream
from gateway.upstream.dialects.vocabulary import Vocabulary

__all__ = ["Stream", "Translated", "Vocabulary", "reply", "request", "translated"]
