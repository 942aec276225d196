"""Converts the arguments of a tool call, a text in chat completions, to the object of the Messages API.

A model may write any text there, and that is no fault of the deployment. An unreadable text becomes an object that
holds it, as Anthropic advises for passing invalid JSON back to a model. Where the answer ended at a limit, the input
holds every complete value, as the official client reads it from the same pieces of a stream.
"""

import re

import msgspec

from gateway.json.lenient import NOT_DECODED, encoded, loaded

INVALID_JSON = "INVALID_JSON"
Object = dict[str, msgspec.Raw]

_object = msgspec.json.Decoder(Object)
_SPACE = r"[ \t\n\r]*"
# Python before 3.11.5 matches possessive repeats of a group wrongly. This form is linear without them.
_PLAIN = r'[^"\\\x00-\x1f]*'
_IN_STRING = rf'{_PLAIN}(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{{4}}){_PLAIN})*'
_TOKEN = re.compile(
    rf'{_SPACE}(?:(?P<string>"{_IN_STRING}")|(?P<mark>[{{}}\[\],:])'
    r"|(?P<scalar>(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?=[ \t\n\r,\]}]|\Z)))"
)
_STRING = rf'(?:"{_IN_STRING}(?:\\(?:u[0-9a-fA-F]{{0,3}})?)?)?'
_SCALAR = r"-|-?(?:0|[1-9]\d*)(?:\.|(?:\.\d+)?[eE][+-]?)|t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?"
_ANY = re.compile(rf"{_SPACE}(?:{_SCALAR}|{_STRING})")
_KEY = re.compile(rf"{_SPACE}{_STRING}")
_NONE = re.compile(_SPACE)
# Patterns of the rest of a text that was cut, by the expected token.
_CUT = {"value": _ANY, "value or ]": _ANY, "key": _KEY, "key or }": _KEY, "colon": _NONE, "comma": _NONE}


def is_whole(arguments: str) -> bool:
    """Returns whether these are all arguments of a call: a complete object."""
    try:
        _object.decode(arguments)
    except NOT_DECODED:
        return False
    return True


def is_object(arguments: str) -> bool:
    """Returns whether this is an object or the beginning of one."""
    return arguments.lstrip().startswith("{")


def tool_input(arguments: str | None, *, is_cut: bool = False) -> Object:
    """Returns the input object. ``is_cut``: the answer ended at a limit, so an incomplete object is accepted. Text
    after a complete object is left out. The values keep their bytes.
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
    """Returns the object at the beginning of ``text``, closed after its last complete value where ``is_cut`` allows
    that, or None where there is no valid JSON object.
    """
    if not is_object(text):
        return None
    closers: list[str] = []
    end = position = 0  # end: after the last complete value or opened bracket
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
