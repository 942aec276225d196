"""The usage that a stream's provider counted: the last usage sent, as official clients read it, not the largest."""

from collections.abc import Callable

import msgspec

from gateway.json.lenient import NOT_DECODED, as_object, as_objects, read
from gateway.request.calls import NOT_JSON, Kind
from gateway.request.usage import Usage, cache_share, lenient_usage, token_counts
from shared_state.records import TokenCounts


class _Chunk(msgspec.Struct, frozen=True):
    usage: Usage | None = None
    x_groq: "_Groq | None" = None
    choices: msgspec.Raw = msgspec.Raw()


class _Groq(msgspec.Struct, frozen=True):
    usage: Usage | None = None


class _Body(msgspec.Struct, frozen=True):
    usage: Usage | None = None


class _MessageEvent(msgspec.Struct, frozen=True):
    message: _Body | None = None
    usage: Usage | None = None


class _ResponseEvent(msgspec.Struct, frozen=True):
    response: _Body | None = None


_chunk = msgspec.json.Decoder(_Chunk)
_choices = msgspec.json.Decoder(list[_Body] | None)
_message = msgspec.json.Decoder(_MessageEvent)
_response = msgspec.json.Decoder(_ResponseEvent)


def _of_chunk(data: bytes) -> Usage | None:
    chunk = _chunk.decode(data)
    usage = chunk.usage or (chunk.x_groq.usage if chunk.x_groq else None)
    if usage is not None or b'"usage"' not in bytes(chunk.choices):
        return usage
    return next((choice.usage for choice in _choices.decode(chunk.choices) or () if choice.usage), None)  # Moonshot's


def _of_message(data: bytes) -> Usage | None:
    event = _message.decode(data)
    return event.usage or (event.message.usage if event.message else None)


def _of_response(data: bytes) -> Usage | None:
    event = _response.decode(data)
    return event.response.usage if event.response else None


def _of_odd(data: bytes) -> Usage | None:
    """Reads an event that a strict decoder refuses: counts in quotes, `NaN`, halves of surrogate pairs."""
    try:
        event = as_object(read(data))
    except NOT_DECODED:
        return None
    holders = (event, *(as_object(event.get(name)) for name in ("message", "response", "x_groq")))
    holders += tuple(as_objects(event.get("choices")))
    return next((usage for each in holders if (usage := lenient_usage(each.get("usage"))) is not None), None)


_READERS: dict[Kind, Callable[[bytes], Usage | None]] = {Kind.MESSAGE: _of_message, Kind.RESPONSE: _of_response}


class StreamUsage:
    """The usage reported so far."""

    def __init__(self, wire: Kind) -> None:
        self._read = _READERS.get(wire, _of_chunk)
        self._is_by_field = wire is Kind.MESSAGE
        self._usage = Usage()

    def see(self, data: bytes) -> None:
        """Reads the data of one event. A later usage replaces an earlier one; in messages, only the fields it names."""
        try:
            usage = self._read(data)
        except NOT_JSON:
            usage = _of_odd(data)
        if usage is None:
            return
        if self._is_by_field:
            named = {name: each for name, each in msgspec.structs.asdict(usage).items() if each is not None}
            usage = msgspec.structs.replace(self._usage, **named)
        self._usage = usage

    def tokens(self) -> TokenCounts:
        """Returns the tokens as `token_counts` does."""
        return token_counts(self._usage)

    def cache_share(self, counts: TokenCounts) -> float:
        """Returns it as the function of this name does."""
        return cache_share(self._usage, counts)
