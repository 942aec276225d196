"""Translation for a client of responses whose provider is Anthropic Messages: by way of chat completions."""

import re

from gateway.errors import InvalidRequest
from gateway.upstream.dialects.chat_as_messages import translation as chat_as_messages
from gateway.upstream.dialects.chat_as_messages.request import Abilities
from gateway.upstream.dialects.responses_as_chat import translation as responses_as_chat
from gateway.upstream.sse import chained, translated

_MESSAGE = re.compile(r"messages\[(\d+)\]")
_FIELDS = {"messages": "input", "response_format": "text.format", "max_tokens": "max_output_tokens"}

_USUAL = Abilities()


def request(body: bytes, model: str, abilities: Abilities = _USUAL) -> bytes:
    """Translates a request body as the translations of both dialects do. Raises InvalidRequest, which names the place
    in the client's request.
    """
    chat = responses_as_chat.translated(body, model)
    try:
        return chat_as_messages.request(chat.body, model, abilities)
    except InvalidRequest as error:
        raise InvalidRequest(str(error), param=_place(error.param, chat.places), code=error.code) from error


def _place(param: str | None, places: list[str]) -> str | None:
    """Returns the place in the client's request for one in the chat completion request between the dialects."""
    if param is None:
        return None
    message = _MESSAGE.match(param)
    if message:
        return places[int(message[1])]
    field = param.partition(".")[0].partition("[")[0]
    return _FIELDS.get(field, field)


def reply(request: bytes, body: bytes) -> bytes:
    """Translates a whole reply to a client's request. Raises Malformed."""
    return responses_as_chat.reply(request, chat_as_messages.reply(body))


class Stream:
    """The translation of one stream. ``request``: the client's own."""

    def __init__(self, request: bytes) -> None:
        self._responses = responses_as_chat.Stream(request)
        self.convert = chained(translated(chat_as_messages.Stream().feed), translated(self._responses.feed))

    @property
    def sequence_number(self) -> int:
        """The sequence number of the last event, -1 without one."""
        return self._responses.sequence_number
