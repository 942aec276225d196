"""Refuses requests whose keys JSON parsers could read differently: duplicates and keys that differ in case only.

Parsers disagree on an object that holds a key twice (the first wins, the last wins, an error), and some ignore case, as
Go's does. The gateway would check the models, limits and budgets of one value while the provider obeys the other.
"""

import json
from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import msgspec

from gateway.errors import InvalidRequest

KEYS_MOST = 1_000  # of a request: documented APIs have about 50
NAME_MOST = 256  # characters; no documented field has more than 40
_COUNTED_FROM = 65_536  # bytes; a shorter body has too few keys to cost more than 2 ms
_SHOWN_MOST = 60

# Every top-level field of a request that the gateway reads or translates; a test compares them with the types.
FIELDS = frozenset((
    *("audio", "background", "best_of", "cache_control", "container", "context_management", "conversation"),
    *("diagnostics", "frequency_penalty", "function_call", "functions", "include", "inference_geo", "input"),
    *("instructions", "logit_bias", "logprobs", "max_completion_tokens", "max_output_tokens", "max_tokens"),
    *("mcp_servers", "messages", "metadata", "modalities", "model", "moderation", "n", "output_config"),
    *("output_format", "parallel_tool_calls", "prediction", "presence_penalty", "previous_response_id", "prompt"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning", "reasoning_effort"),
    *("response_format", "safety_identifier", "seed", "service_tier", "speed", "stop", "stop_sequences", "store"),
    *("stream", "stream_options", "system", "temperature", "text", "thinking", "thread", "tool_choice", "tools"),
    *("top_k", "top_logprobs", "top_p", "truncation", "user", "user_profile_id", "verbosity", "web_search_options"),
    *("session_id", "workspace_id"),
))  # fmt: skip
STREAM_FIELDS = frozenset({"include_usage", "include_obfuscation"})
_PLAIN_OPTIONS = frozenset({b'{"include_usage":true}', b'{"include_usage": true}'})  # as clients write them


class _Name:
    """The declared type of a key: the decoder passes every key of an object to its hook, repeated ones included."""

    __slots__ = ()


class _Key(msgspec.Struct, _Name, eq=False, gc=False):
    """Equal to itself only, so that a dict keeps repeated keys apart."""

    kind: type
    text: str


class _TooManyKeys(Exception):
    pass


_text = attrgetter("text")
_keys = msgspec.json.Decoder(dict[_Name, msgspec.Raw], dec_hook=_Key)


def _decoded(body: bytes) -> dict[Any, msgspec.Raw]:
    """Raises InvalidRequest before a large object costs more than KEYS_MOST keys."""
    if len(body) < _COUNTED_FROM:
        pairs = _keys.decode(body)
        if len(pairs) > KEYS_MOST:
            raise _too_many()
        return pairs
    left = KEYS_MOST

    def key(kind: type, text: str) -> _Key:
        nonlocal left
        left -= 1
        if left < 0:
            raise _TooManyKeys
        return _Key(kind, text)

    try:
        return msgspec.json.Decoder(dict[_Name, msgspec.Raw], dec_hook=key).decode(body)
    except _TooManyKeys:
        raise _too_many() from None


def _too_many() -> InvalidRequest:
    return InvalidRequest(f"The body holds an object of more than {KEYS_MOST} keys.")


def check_keys(body: bytes, has_options: bool) -> None:
    """Checks the keys of a request and, if ``has_options``, those of its `stream_options`, which the gateway reads as
    well. The body must have been decoded before. Raises InvalidRequest.
    """
    pairs = _decoded(body)
    names = [*map(_text, pairs)]
    unique = set(names)
    if len(unique) < len(names) or not unique <= FIELDS:
        check_names(names, FIELDS)
    if has_options:
        options = bytes(list(pairs.values())[names.index("stream_options")])
        if options not in _PLAIN_OPTIONS:
            check_names(map(_text, _decoded(options)), STREAM_FIELDS, "stream_options.")


def check_all_keys(text: bytes) -> None:
    """Checks the keys of each object in a short text that has been decoded before. Raises InvalidRequest."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        check_names([name for name, _ in pairs], frozenset())

    json.loads(text, object_pairs_hook=check, parse_int=str)  # a number may have any length


def check_names(names: Iterable[str], known: frozenset[str], path: str = "") -> None:
    """Raises InvalidRequest for two names that are equal without case, and for a name that equals a ``known`` one only
    without case.
    """
    seen: set[str] = set()
    for name in names:
        if len(name) > NAME_MOST:
            raise InvalidRequest(f"The body holds a key of more than {NAME_MOST} characters.")
        folded = _folded(name)
        field, shown = path + folded[:_SHOWN_MOST], path + name[:_SHOWN_MOST]
        if folded in seen:
            raise InvalidRequest(f"The body holds the field `{shown}` more than once.", param=field)
        if folded != name and folded in known:
            raise InvalidRequest(f"Unknown field `{shown}`, did you mean `{field}`?", param=field)
        seen.add(folded)


def _folded(name: str) -> str:
    """Folds case as any parser may: by small letters (the Kelvin sign is `k`) or by capitals (dotless i is `I`)."""
    return name.lower() if name.isascii() else name.upper().casefold()
