"""Translation for a client of Anthropic Messages whose provider has responses only: by way of chat completions."""

from collections.abc import Callable

from gateway.errors import InvalidRequest
from gateway.upstream.dialects.chat_as_responses import translation as chat_as_responses
from gateway.upstream.dialects.messages_as_chat import translation as messages_as_chat
from gateway.upstream.dialects.origin import UNKNOWN, Origin
from gateway.upstream.dialects.vocabulary import COMMON, Vocabulary
from gateway.upstream.sse import chained, translated

_FIELDS = {"stop": "stop_sequences", "response_format": "output_config.format"}


def request(body: bytes, model: str, vocabulary: Vocabulary = COMMON) -> bytes:
    """Translates a request body as the translations of both dialects do. Raises InvalidRequest, which names the field
    in the client's request.
    """
    chat = messages_as_chat.request(body, model, vocabulary)
    try:
        return chat_as_responses.request(chat, model, has_sampling=vocabulary.has_sampling)
    except InvalidRequest as error:
        field = (error.param or "").partition(".")[0].partition("[")[0]
        raise InvalidRequest(str(error), param=_FIELDS.get(field, field) or None, code=error.code) from error


def reply(body: bytes, origin: Origin = UNKNOWN) -> bytes:
    """Translates a whole reply. Raises Malformed."""
    return messages_as_chat.reply(chat_as_responses.reply(body), origin)


def stream(origin: Origin = UNKNOWN) -> Callable[[bytes], bytes]:
    """Returns a converter of one stream's whole events."""
    there, back = chat_as_responses.Stream(), messages_as_chat.Stream(origin=origin)
    return chained(translated(there.feed), translated(back.feed))
