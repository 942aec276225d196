"""Parses requests and replies: only the fields that the gateway reads. All others pass through as bytes."""

import re
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

import msgspec

from gateway.errors import InvalidRequest
from gateway.json.bounds import LARGE, MEMBERS_MOST, has_too_many_parts
from gateway.json.duplicate_keys import check_keys
from gateway.json.lenient import loaded
from gateway.request.token_bounds import (
    MESSAGES_MOST,
    ChatRequest,
    CompletionRequest,
    CountRequest,
    EmbeddingRequest,
    MessageRequest,
    Request,
    ResponseRequest,
)
from gateway.request.usage import Usage, lenient_usage, token_counts
from shared_state.records import NO_TOKENS, TokenCounts


class Kind(Enum):
    """The kind of a call; its value is the path, after `/v1` here and after `base_url` at a provider."""

    CHAT = "/chat/completions"
    COMPLETION = "/completions"
    EMBEDDING = "/embeddings"
    MESSAGE = "/messages"
    RESPONSE = "/responses"

    label: str  # the kind's name in settings and in the store

    def __init__(self, path: str) -> None:
        self.label = "chat" if path == "/chat/completions" else path[1:]

    __hash__ = object.__hash__  # each member is one object; Enum's own hash is a function of Python, and slower


class Resource(msgspec.Struct, frozen=True):
    """What a call that makes no answer addresses, under the path of its kind."""

    method: str
    path: str  # from the slash on
    query: str = ""  # from the question mark on
    counts_body: bool = False  # it counts the tokens of a body of its kind, which is sent along


class Call(msgspec.Struct, frozen=True):
    """One parsed request, with the body as it was received."""

    model: str
    is_stream: bool
    body: bytes
    kind: Kind = Kind.CHAT
    include_usage: bool = False
    edition: tuple[tuple[str, str], ...] = ()  # headers with the version of the API that the body is written for
    tokens: int = 0  # an estimate of all tokens, in and out
    output_most: int = 0  # tokens that each choice may have; 0 where the request sets no bound
    choices: int = 1
    session: tuple[bytes, ...] = ()  # names of its session and of its prompt's prefixes
    passed: tuple[tuple[str, str], ...] = ()  # headers of the client's that providers get
    known: tuple[tuple[str, str], ...] = ()  # headers of the client's that providers get which know them
    agent: bytes = b""  # the client's user agent
    names: tuple[str, ...] = ()  # ids of what a provider keeps, the strongest first
    resource: Resource | None = None  # of a call that makes no answer


class ChatReply(msgspec.Struct, frozen=True, rename={"items": "choices"}):
    """A plain reply. Its list is required: JSON of another kind is not an answer. `tokens_of` also reads odd
    replies.
    """

    items: msgspec.Raw
    usage: Usage | None = None


class EmbeddingReply(msgspec.Struct, frozen=True, rename={"items": "data"}):
    items: msgspec.Raw
    usage: Usage | None = None


class MessageReply(msgspec.Struct, frozen=True, rename={"items": "content"}):
    items: msgspec.Raw
    usage: Usage | None = None


class ResponseReply(msgspec.Struct, frozen=True, rename={"items": "output"}):
    items: msgspec.Raw
    usage: Usage | None = None


Named = Callable[[Request], tuple[bytes, ...]]
Reply = ChatReply | EmbeddingReply | MessageReply | ResponseReply


# The errors of decoding: invalid UTF-8 and too many levels raise Python's own errors.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

BYTES_PER_TOKEN = 4  # of English text; corrected when the provider has counted
PROMPT_TOKENS_MOST = 100_000  # an image is many bytes and few tokens

_EDITION = {
    b"anthropic-version": re.compile(rb"\d{4}-\d\d-\d\d"),
    b"anthropic-beta": re.compile(rb"[a-zA-Z0-9_., -]{1,2000}"),
}
_MEMBERS_PER_MESSAGE = 25  # keys and objects, its tool calls included
_FIELD = re.compile(r"missing required field `(\w+)`|at `\$\.(\w+)")
REQUESTS: dict[Kind, type[Request]] = {
    Kind.CHAT: ChatRequest,
    Kind.COMPLETION: CompletionRequest,
    Kind.EMBEDDING: EmbeddingRequest,
    Kind.MESSAGE: MessageRequest,
    Kind.RESPONSE: ResponseRequest,
}
_requests = {kind: msgspec.json.Decoder(request) for kind, request in REQUESTS.items()}
_counts = _requests | {Kind.MESSAGE: msgspec.json.Decoder(CountRequest)}
_replies: dict[Kind, msgspec.json.Decoder[Any]] = {
    Kind.CHAT: msgspec.json.Decoder(ChatReply),
    Kind.COMPLETION: msgspec.json.Decoder(ChatReply),
    Kind.EMBEDDING: msgspec.json.Decoder(EmbeddingReply),
    Kind.MESSAGE: msgspec.json.Decoder(MessageReply),
    Kind.RESPONSE: msgspec.json.Decoder(ResponseReply),
}


def parse(
    kind: Kind,
    body: bytes,
    most_messages: int = MESSAGES_MOST,
    named: Named = lambda _request: (),
    is_count: bool = False,
) -> Call:
    """Returns the call in a request's body. ``named`` returns the names of its session; ``is_count``: the request
    orders no answer, only the number of its tokens. Raises InvalidRequest, which names the field.
    """
    if len(body) > LARGE and has_too_many_parts(body, max(MEMBERS_MOST, _MEMBERS_PER_MESSAGE * most_messages)):
        raise InvalidRequest("The request body holds too many objects, keys or list items.")
    try:
        if not body.isascii():
            body.decode()  # msgspec does not check the UTF-8 of fields that pass through
        request: Request = (_counts if is_count else _requests)[kind].decode(body)
        check_keys(body, request.stream_options is not None)
        names = request.check(most_messages)
        most, choices = request.most_tokens, request.choices(most_messages)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from error
    except NOT_JSON as error:
        raise not_json(error) from error
    is_stream = request.stream is True and kind is not Kind.EMBEDDING
    include_usage = request.stream_options is not None and request.stream_options.include_usage is True
    tokens = min(len(body) // BYTES_PER_TOKEN, PROMPT_TOKENS_MOST) + most
    return Call(
        request.model,
        is_stream,
        body,
        kind,
        include_usage,
        tokens=tokens,
        output_most=most,
        choices=choices,
        session=named(request),
        names=names,
    )


def edition_of(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """Returns the headers with the version and the betas of Anthropic's API that a body is written for. A repeated
    header is one list. Raises InvalidRequest.
    """
    given: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in _EDITION:
            given.setdefault(name, []).append(value)
    edition = []
    for name, values in given.items():
        value = b",".join(values)
        if not _EDITION[name].fullmatch(value):
            raise InvalidRequest(f"The header {name.decode()} is not well-formed.", param=name.decode())
        edition.append((name.decode(), value.decode()))
    return tuple(edition)


def tokens_of(kind: Kind, body: bytes) -> TokenCounts:
    """Returns `token_counts` of a plain reply, zeros where its usage is unreadable. Raises the errors in NOT_JSON when
    the body is not a reply of this kind.
    """
    usage = usage_of(kind, body)
    return NO_TOKENS if usage is None else token_counts(usage)


def usage_of(kind: Kind, body: bytes) -> Usage | None:
    """Returns the usage of a plain reply; None where it is missing or unreadable. Raises as `tokens_of`."""
    try:
        usage = _usage_of(kind, body)
    except NOT_JSON:
        if has_too_many_parts(body, MEMBERS_MOST, MEMBERS_MOST):
            usage = _usage_of(kind, _with_nulls(body))
        else:
            usage = _usage_of_odd(kind, loaded(body))
    return usage


def _usage_of(kind: Kind, body: bytes) -> Usage | None:
    """Raises the errors in NOT_JSON. The list stays bytes, so its length costs nothing."""
    reply: Reply = _replies[kind].decode(body)
    if bytes(memoryview(reply.items)[:1]) != b"[":
        raise msgspec.ValidationError("no reply of this kind")
    return reply.usage


def _with_nulls(body: bytes) -> bytes:
    """Vectors may hold numbers that JSON cannot express. The same change inside a text is harmless: only usage is
    read.
    """
    return body.replace(b"-Infinity", b"null").replace(b"Infinity", b"null").replace(b"NaN", b"null")


_ANSWER_NAMES = {Kind.EMBEDDING: "data", Kind.MESSAGE: "content", Kind.RESPONSE: "output"}
_OBJECTS = {
    Kind.CHAT: ("chat.completion",),
    Kind.COMPLETION: ("text_completion", "chat.completion"),
    Kind.RESPONSE: ("response",),
}


def _usage_of_odd(kind: Kind, value: object) -> Usage | None:
    """Raises ValidationError unless an official client would accept the value as a reply. Some servers send a
    completion without choices where the model wrote nothing.
    """
    fields = value if isinstance(value, dict) else {}
    answer = fields.get(_ANSWER_NAMES.get(kind, "choices"))
    is_empty = answer is None and fields.get("object") in _OBJECTS.get(kind, ())
    if not isinstance(answer, list) and not is_empty and not (kind is Kind.MESSAGE and isinstance(answer, str)):
        raise msgspec.ValidationError("no reply of this kind")
    return lenient_usage(fields.get("usage"))


def not_json(error: Exception) -> InvalidRequest:
    if isinstance(error, RecursionError):
        return InvalidRequest("The request body is nested too deeply.", code="invalid_json")
    return InvalidRequest(f"The request body is not valid JSON: {error}", code="invalid_json")


def _explained(problem: str) -> InvalidRequest:
    """Returns the error with the field as its `param`. msgspec names it as `$.messages` or in backquotes."""
    match = _FIELD.search(problem)
    param = match[1] or match[2] if match else None
    return InvalidRequest(f"Invalid request body: {problem}", param=param)


def with_fields(body: bytes, changed: dict[str, Any], without: Iterable[str] = ()) -> bytes:
    """Returns the body with some fields replaced and ``without`` some; every other value keeps its bytes. Raises
    InvalidRequest for a body with nearly as many levels as can be read: the stack is deeper here than where the body
    was parsed.
    """
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except NOT_JSON as error:
        raise not_json(error) from error
    for name in without:
        fields.pop(name, None)
    for name, value in changed.items():
        fields[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(fields)
