"""The arguments of a tool call, which are text in chat completions, as the object that the Messages API has for them.

A model may write anything there. That is its answer and no fault of the deployment: an unreadable text becomes an
object that holds it, as Anthropic advises for passing invalid JSON back to a model. Where the answer ended at a limit,
the input is what the official client reads out of the same pieces of a stream: every value that is complete.
"""

import re

import msgspec

from gateway.json.lenient import NOT_DECODED, encoded, loaded

INVALID_JSON = "INVALID_JSON"
Object = dict[str, msgspec.Raw]

_object = msgspec.json.Decoder(Object)
_SPACE = r"[ \t\n\r]*"
_IN_STRING = r'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+'
_TOKEN = re.compile(
    rf'{_SPACE}(?:(?P<string>"{_IN_STRING}")|(?P<mark>[{{}}\[\],:])'
    r"|(?P<scalar>(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?=[ \t\n\r,\]}]|\Z)))"
)
_STRING = rf'(?:"{_IN_STRING}(?:\\(?:u[0-9a-fA-F]{{0,3}})?)?)?'
_SCALAR = r"-|-?(?:0|[1-9]\d*)(?:\.|(?:\.\d+)?[eE][+-]?)|t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?"
_ANY = re.compile(rf"{_SPACE}(?:{_SCALAR}|{_STRING})")
_KEY = re.compile(rf"{_SPACE}{_STRING}")
_NONE = re.compile(_SPACE)
# The rest of a text that was cut, by what is expected there.
_CUT = {"value": _ANY, "value or ]": _ANY, "key": _KEY, "key or }": _KEY, "colon": _NONE, "comma": _NONE}


def is_whole(arguments: str) -> bool:
    """Is this the whole of a call's arguments?"""
    try:
        _object.decode(arguments)
    except NOT_DECODED:
        return False
    return True


def is_object(arguments: str) -> bool:
    """Is this an object, or the beginning of one?"""
    return arguments.lstrip().startswith("{")


def tool_input(arguments: str | None, *, is_cut: bool = False) -> Object:
    """``is_cut``: the answer ended at a limit, so that a part of an object may be all there is. Text behind a complete
    object is left out. The values keep their bytes.
    """
    if not arguments or arguments.strip() in ("", "null"):
        return {}
    part = _readable_part(arguments, is_cut)
    for text in (arguments,) if part is None else (arguments, part):
        try:
            return _object.decode(text)
        except NOT_DECODED:
            pass
    return _as_clients_read(arguments) or {INVALID_JSON: msgspec.Raw(encoded(arguments))}


def _as_clients_read(arguments: str) -> Object | None:
    try:
        return _object.decode(encoded(loaded(arguments.encode())))
    except NOT_DECODED:
        return None


def _readable_part(text: str, is_cut: bool) -> str | None:
    """Returns the object at the beginning of ``text``, closed behind its last complete value where ``is_cut`` allows
    that, or None where there is no object or one that breaks the rules of JSON.
    """
    if not is_object(text):
        return None
    closers: list[str] = []
    end = position = 0  # end: behind the last complete value or opened bracket
    expected = "value"
    while token := _TOKEN.match(text, position):
        position = token.end()
        mark = token["mark"]
        if mark in ("{", "[") and expected in ("value", "value or ]"):
            closers.append("}" if mark == "{" else "]")
            expected = "key or }" if mark == "{" else "value or ]"
        elif mark == "," and expected == "comma":
            expected = "key" if closers[-1] == "}" else "value"
            continue
        elif mark == ":" and expected == "colon":
            expected = "value"
            continue
        elif token["string"] and expected in ("key", "key or }"):
            expected = "colon"
            continue
        elif mark and mark == closers[-1] and expected in ("comma", f"key or {mark}", f"value or {mark}"):
            closers.pop()
            expected = "comma"
        elif not mark and expected in ("value", "value or ]"):
            expected = "comma"
        else:
            return None
        end = position
        if not closers:
            return text[:end]
    if is_cut and _CUT[expected].fullmatch(text, position):
        return text[:end] + "".join(reversed(closers))
    return None
