"""Names sessions: what a request shows of the conversation that it belongs to, and how its prompt begins.

A name holds the tenant and the model, so that no tenant meets another's pins. The store gets keyed hashes of names only
(shared_state/calls/decision_calls.py).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import msgspec

from gateway.configuration.affinity import AffinityMode
from gateway.request.token_bounds import (
    ABSENT,
    OF_USER,
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    Given,
    MessageRequest,
    Request,
    ResponseRequest,
    Turn,
    first_turns,
)
from shared_state.records import FIRST_TURN

Headers = Iterable[tuple[bytes, bytes]]

NAME_MOST = 1_024  # bytes of an id that count: a longer one is no worse, and costs no more
TURNS_MOST = 16  # that may come before the first of the user
PASSED_MOST = 4  # headers
METADATA_MOST = 65_536  # bytes
PIECE_MOST = 4_096  # bytes of each part of a beginning that count, from both of its ends
BLOCKS_KIB = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # the lengths of prefixes
_HEADERS = {b"x-session-id": 0, b"x-claude-code-session-id": 1, b"session_id": 2, b"x-session-affinity": 4}
_PASSED = re.compile(rb"[!-~](?:[ -~]{0,510}[!-~])?")
_BODY_ID, _NO_HEADER = 3, 5  # ranks: of `session_id` in the body, and of everything after the headers


_CONVERSATIONS = (ChatRequest, MessageRequest)


class _Metadata(msgspec.Struct, frozen=True):
    session_id: Given = ABSENT
    user_id: Given = ABSENT


_metadata = msgspec.json.Decoder(_Metadata)


class Sessions:
    """Names the sessions of one configuration."""

    def __init__(self, mode: AffinityMode, pass_headers: Iterable[str] = ()) -> None:
        self._mode = mode
        self._passed = frozenset(name.encode() for name in pass_headers)
        self._read = self._passed if mode == "off" else self._passed | _HEADERS.keys()

    def headers(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Returns those that `names` and `passed` read."""
        read = self._read
        return [each for each in headers if each[0] in read]

    def names(self, request: Request, headers: Headers, tenant: str) -> tuple[bytes, ...]:
        """Returns the name of the session, then those of the prompt's prefixes, the longest first; () where affinity is
        off or does not apply.
        """
        if self._mode == "off" or isinstance(request, EmbeddingRequest):
            return ()
        scope = _scope(tenant, request.model)
        given = _given(request, headers)
        session = scope + given if given else _begun(scope, request)
        return (session, *_prefixes(scope, request)) if self._mode == "prefix" else (session,)

    def name(self, session_id: str, tenant: str, model: str) -> tuple[bytes, ...]:
        """Returns the name that a request with this id in `x-session-id` gives."""
        if self._mode == "off" or not session_id:
            return ()
        return (_scope(tenant, model) + b"0" + session_id.encode(errors="replace")[:NAME_MOST],)

    def passed(self, headers: Headers) -> tuple[tuple[str, str], ...]:
        """Returns the headers that are sent to providers; one that is not well-formed is left out."""
        found = [(name, value) for name, value in headers if name in self._passed and _PASSED.fullmatch(value)]
        return tuple([(name.decode(), value.decode()) for name, value in found[:PASSED_MOST]])


NO_SESSIONS = Sessions("off")


def _scope(tenant: str, model: str) -> bytes:
    """Returns the part of a name that keeps tenants and models apart, whatever they are called."""
    return f"{len(tenant)} {tenant} {len(model)} {model} ".encode(errors="replace")


def _given(request: Request, headers: Headers) -> bytes:
    """Returns the first id that is there, with its rank; empty without one."""
    best, value = _NO_HEADER, b""
    for name, given in headers:
        rank = _HEADERS.get(name, _NO_HEADER)
        if rank < best and given:
            best, value = rank, given
    if best > _BODY_ID and request.session_id is not ABSENT and (text := _text(request.session_id)):
        return b"3" + text
    if value:
        return b"%d" % best + value[:NAME_MOST]
    if request.prompt_cache_key is not ABSENT and (text := _text(request.prompt_cache_key)):
        return b"5" + text
    if request.metadata is not ABSENT and (text := _of_metadata(request.metadata)):
        return text
    if request.user is not ABSENT and (text := _text(request.user)):
        return b"8" + text
    return b""


def _of_metadata(raw: msgspec.Raw) -> bytes:
    if len(raw) > METADATA_MOST:
        return b""
    try:
        metadata = _metadata.decode(raw)
    except msgspec.DecodeError:
        return b""
    if text := _text(metadata.session_id):
        return b"6" + text
    text = _text(metadata.user_id)
    return b"7" + text if text else b""


def _text(raw: msgspec.Raw) -> bytes:
    """Returns a text as it was written, in quotes; empty for anything else and for an empty text."""
    if raw is ABSENT:
        return b""
    text = bytes(memoryview(raw)[:NAME_MOST])
    return text if len(text) > 2 and text.startswith(b'"') else b""


def _begun(scope: bytes, request: Request) -> bytes:
    """Returns the beginning of the conversation, which its later turns repeat: the system prompt, the tools and the
    first turn of the user. The first turn is marked, as it may be a single request like many others.
    """
    pieces, is_first = _beginning(request)
    parts = [b"9"]
    for part in pieces:
        if len(part) > PIECE_MOST:
            view = memoryview(part)
            parts += (b"%d" % len(view), bytes(view[: PIECE_MOST // 2]), bytes(view[-PIECE_MOST // 2 :]))
        else:
            parts.append(bytes(part))
    return (FIRST_TURN if is_first else b"") + scope + b"\n".join(parts)


def _beginning(request: Request) -> tuple[list[msgspec.Raw], bool]:
    """Returns its parts, and whether no answer follows."""
    pieces = _before_turns(request)
    if isinstance(request, _CONVERSATIONS):
        turns: Sequence[Turn] = request.messages
    elif isinstance(request, ResponseRequest) and request.input is not ABSENT:
        turns = first_turns(request.input, TURNS_MOST)
        if not turns:
            return [*pieces, request.input], True
    else:
        return [*pieces, request.prompt] if isinstance(request, CompletionRequest) else pieces, True
    begin = turns if len(turns) <= TURNS_MOST else turns[:TURNS_MOST]
    for position, turn in enumerate(begin, 1):
        if turn.content is not ABSENT:
            pieces.append(turn.content)
        if turn.role == OF_USER:
            return pieces, not any(each.is_answer for each in turns[position : position + TURNS_MOST])
    return pieces, not any(each.is_answer for each in begin)


def _before_turns(request: Request) -> list[msgspec.Raw]:
    """Returns the parts of a prompt that providers cache first."""
    if request.tools is ABSENT and request.system is ABSENT and request.instructions is ABSENT:
        return []
    return [part for part in (request.tools, request.system, request.instructions) if part is not ABSENT]


def _whole(request: Request) -> Iterator[msgspec.Raw]:
    yield from _before_turns(request)
    match request:
        case ChatRequest() | MessageRequest():
            for turn in request.messages:
                if turn.content is not ABSENT:
                    yield turn.content
        case ResponseRequest() if request.input is not ABSENT:
            yield request.input
        case CompletionRequest():
            yield request.prompt


def _prefixes(scope: bytes, request: Request) -> Iterator[bytes]:
    """Returns the digest of each prefix of the prompt that has one of the lengths, the longest first."""
    digests: list[bytes] = []
    digest, length = blake2b(scope, digest_size=16), 0
    for piece in _whole(request):
        view = memoryview(piece)
        while len(view) and len(digests) < len(BLOCKS_KIB):
            part = view[: 1_024 * BLOCKS_KIB[len(digests)] - length]
            digest.update(part)
            view, length = view[len(part) :], length + len(part)
            if length == 1_024 * BLOCKS_KIB[len(digests)]:
                digests.append(digest.digest())
    return reversed(digests)
