"""The fields that the gateway reads of each kind of request: its model, and how many tokens it may make a provider
write. Budgets reserve by these counts, so they have to be upper bounds however leniently a provider reads the fields.

Values that are only bounded or passed on stay bytes: no list of a million items becomes a million objects.
"""

import contextlib
import math
import re
from typing import Annotated, cast

import msgspec

from gateway.errors import InvalidRequest
from gateway.request.named_state import NAMES_MOST, Item, given, id_in, named_by_items, named_by_tools

TOKENS_MOST = 999_999_999  # a number with many digits must not be more than the store can add up
SCALAR_MOST = 64  # characters of a count: readers disagree about longer ones, or refuse them
MESSAGES_MOST = 10_000  # of a request, unless `server.max_messages` is set: no model's context holds that many

_TOKEN_ARRAY = re.compile(rb"\[[\s\d,-]*\]\s*")  # whole numbers and nothing else
_NOT_EMPTY = re.compile(rb"\[\s*[^\s\]]")
_BASES = re.compile(r"\s*0[xXoObB][0-9a-fA-F]+\s*")  # JavaScript's Number() reads them


Given = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={})]  # of any type
ABSENT = cast(msgspec.Raw, None)  # the value of an absent field, without an object for each request


class AnyObject(msgspec.Struct, frozen=True, gc=False):
    """An object whose content only the provider reads."""


OF_USER = msgspec.Raw(b'"user"')  # a role
_OF_CLIENTS = (OF_USER, msgspec.Raw(b'"system"'), msgspec.Raw(b'"developer"'))


class Turn(msgspec.Struct, frozen=True, gc=False):
    """A message of a conversation."""

    role: Given = ABSENT
    content: Given = ABSENT

    @property
    def is_answer(self) -> bool:
        """Whether it comes from a model or a tool."""
        return self.role not in _OF_CLIENTS


Turns = Annotated[list[Turn], msgspec.Meta(min_length=1)]
Count = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": ["integer", "number", "string", "null"]})]
TextOrList = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": ["string", "array"]})]
Name = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": ["string", "object", "null"]})]
List = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": ["array", "null"]})]

_response_items = msgspec.json.Decoder(list[Item])


class _FirstTurn(Exception):
    pass


def first_turns(value: msgspec.Raw, most: int) -> list[Turn]:
    """Returns the items of a list up to the first answer to the user, at most ``most`` of them."""
    turns: list[Turn] = []
    has_user = False

    def seen(_kind: type, item: object) -> _Item:
        nonlocal has_user
        fields = item if isinstance(item, dict) else {}
        turn = Turn(*(msgspec.Raw(msgspec.json.encode(fields.get(name))) for name in ("role", "content")))
        turns.append(turn)
        if len(turns) >= most or (has_user and turn.is_answer):
            raise _FirstTurn
        has_user = has_user or turn.role == OF_USER
        return _Item()

    with contextlib.suppress(_FirstTurn, msgspec.ValidationError):
        msgspec.json.Decoder(list[_Item], dec_hook=seen).decode(value)
    return turns


def _count(value: msgspec.Raw, name: str) -> int:
    """Returns the count as the most lenient provider reads it, also from a number in quotes; 0 for an absent field and
    for anything that is not a number, which the provider may refuse. Raises InvalidRequest for a number that readers
    disagree about.
    """
    if value is ABSENT:
        return 0
    text = bytes(memoryview(value)[: SCALAR_MOST + 1])
    if text == b"null" or text.startswith((b"{", b"[")):
        return 0
    if len(text) > SCALAR_MOST:
        raise InvalidRequest(f"{name} is longer than {SCALAR_MOST} characters.", param=name)
    if text.isdigit():
        return min(int(text), TOKENS_MOST)
    if text in (b"true", b"false"):
        return int(text == b"true")
    digits: str = msgspec.json.decode(text) if text.startswith(b'"') else text.decode()
    try:
        number = int(digits, 0) if _BASES.fullmatch(digits) else float(digits)
    except ValueError:
        return 0
    if math.isnan(number):
        return 0
    if math.isinf(number) and not text.startswith(b'"'):
        raise InvalidRequest(f"{name} is out of range.", param=name)
    return math.ceil(min(max(number, 0), TOKENS_MOST))


def _is_list(value: msgspec.Raw, name: str, may_be_empty: bool = False) -> bool:
    """Returns whether the value is a list, False for a text. Raises InvalidRequest for any other value."""
    view = memoryview(value)
    begin = bytes(view[:1])
    if begin == b'"':
        return False
    if begin == b"[" and (may_be_empty or _NOT_EMPTY.match(view)):
        return True
    raise InvalidRequest(f"Invalid request body: {name} must be a text or a list that is not empty", param=name)


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None


class _Item:
    """The declared type of an item: the decoder passes each one to its hook."""


class _TooMany(Exception):
    pass


def _texts(value: msgspec.Raw, name: str, most: int) -> int:
    """Returns the number of texts in a list; a list of tokens is one text. Raises InvalidRequest."""
    return 1 if _TOKEN_ARRAY.fullmatch(memoryview(value)) else _items(value, name, most)


def _items(value: msgspec.Raw, name: str, most: int) -> int:
    """Returns the number of items. Raises InvalidRequest before a large list costs more than ``most`` items."""
    item, number = _Item(), 0

    def counted(_kind: type, _value: object) -> _Item:
        nonlocal number
        number += 1
        if number > most:
            raise _TooMany
        return item

    try:
        msgspec.json.Decoder(list[_Item], dec_hook=counted).decode(value)
    except _TooMany:
        raise _too_many(name, most) from None
    return number


class Request(msgspec.Struct, frozen=True):
    """The fields that requests of every kind have."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count = ABSENT
    max_completion_tokens: Count = ABSENT
    max_output_tokens: Count = ABSENT
    n: Count = ABSENT
    best_of: Count = ABSENT
    session_id: Given = ABSENT
    prompt_cache_key: Given = ABSENT
    metadata: Given = ABSENT
    user: Given = ABSENT
    tools: Given = ABSENT
    system: Given = ABSENT
    instructions: Given = ABSENT

    @property
    def most_tokens(self) -> int:
        """The bound on output tokens, by the field of this kind of request; providers ignore the other fields."""
        return _count(self.max_tokens, "max_tokens")

    def choices(self, _most: int) -> int:
        """Returns the number of answers that the request orders, and pays for."""
        return max(1, _count(self.n, "n"), _count(self.best_of, "best_of"))

    def check(self, _most: int) -> tuple[str, ...]:
        """Returns the ids by which the request names what a provider keeps. Raises InvalidRequest for more than
        ``_most`` messages, and for content of a wrong type.
        """
        return ()


def _too_many(name: str, most: int) -> InvalidRequest:
    return InvalidRequest(f"{name} holds more than {most} items (server.max_messages).", param=name)


class _Conversation(Request, frozen=True, kw_only=True):
    """Messages are checked to be a non-empty list of objects."""

    messages: Turns

    def check(self, most: int) -> tuple[str, ...]:
        if len(self.messages) > most:
            raise _too_many("messages", most)
        return ()


class ChatRequest(_Conversation, frozen=True, kw_only=True):
    @property
    def most_tokens(self) -> int:
        """The larger of two fields: which one a provider obeys is unknown."""
        newer = _count(self.max_completion_tokens, "max_completion_tokens")
        return max(_count(self.max_tokens, "max_tokens"), newer)


class CompletionRequest(Request, frozen=True, kw_only=True):
    prompt: TextOrList  # or null, which stands for the beginning of a document

    def choices(self, most: int) -> int:
        """Returns the number of answers to all prompts."""
        is_null = bytes(memoryview(self.prompt)[:5]) == b"null"
        prompts = _texts(self.prompt, "prompt", most) if not is_null and _is_list(self.prompt, "prompt") else 1
        return prompts * super().choices(most)


class EmbeddingRequest(Request, frozen=True, kw_only=True):
    input: TextOrList

    def check(self, most: int) -> tuple[str, ...]:
        """Accepts a text, a list of texts, or the tokens of one text. Raises InvalidRequest."""
        if _is_list(self.input, "input"):
            _texts(self.input, "input", most)
        return ()


class MessageRequest(_Conversation, frozen=True, kw_only=True):
    max_tokens: Annotated[int, msgspec.Meta(ge=0)]  # type: ignore[assignment]  # 0 fills the prompt cache, no answer

    container: Name = ABSENT
    thread: Name = ABSENT

    @property
    def most_tokens(self) -> int:
        return min(self.max_tokens, TOKENS_MOST)

    def check(self, most: int) -> tuple[str, ...]:
        super().check(most)
        if self.container is ABSENT and self.thread is ABSENT:
            return ()
        return given((id_in(self.container), id_in(self.thread)), NAMES_MOST)


class CountRequest(MessageRequest, frozen=True, kw_only=True):
    """A request for the number of its tokens."""

    max_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0


class ResponseRequest(Request, frozen=True, kw_only=True):
    input: TextOrList = ABSENT
    previous_response_id: Name = ABSENT
    conversation: Name = ABSENT

    @property
    def most_tokens(self) -> int:
        return _count(self.max_output_tokens, "max_output_tokens")

    def check(self, most: int) -> tuple[str, ...]:
        items = self._input(most)
        if not items and self.previous_response_id is ABSENT and self.conversation is ABSENT and self.tools is ABSENT:
            return ()
        by_tools = list(named_by_tools(self.tools)) if self.tools is not ABSENT else []
        names = [id_in(self.previous_response_id), id_in(self.conversation), *by_tools, *named_by_items(items)]
        return given(names, NAMES_MOST)

    def _input(self, most: int) -> list[Item]:
        """Returns the items of the input, none where it is no list of items. Raises InvalidRequest."""
        if self.input is ABSENT or bytes(memoryview(self.input)[:5]) == b"null":
            return []
        if not _is_list(self.input, "input", may_be_empty=True):
            return []
        items: list[Item] = []
        try:
            items = _response_items.decode(self.input)
            count = len(items)
        except msgspec.ValidationError:  # not only objects: the provider may refuse it
            count = _items(self.input, "input", most)
        if count > most:
            raise _too_many("input", most)
        return items
