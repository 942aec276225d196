"""A request means one thing, or it is refused: what the gateway reads is what any provider reads."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.json.duplicate_keys import FIELDS, KEYS_MOST, NAME_MOST, check_all_keys
from gateway.request.calls import REQUESTS, Call, Kind, parse, with_fields
from gateway.upstream.dialects.chat_as_messages import schema
from gateway.upstream.dialects.messages_as_chat import request

MESSAGES = '[{"role": "user", "content": "hi"}]'
BODIES: dict[Kind, dict[str, str]] = {
    Kind.CHAT: {"model": '"cheap"', "messages": MESSAGES, "max_tokens": "5", "n": "1"},
    Kind.COMPLETION: {"model": '"cheap"', "prompt": '"hi"', "max_tokens": "5", "best_of": "1"},
    Kind.EMBEDDING: {"model": '"cheap"', "input": '["hi"]'},
    Kind.MESSAGE: {"model": '"cheap"', "messages": MESSAGES, "max_tokens": "5"},
    Kind.RESPONSE: {"model": '"cheap"', "input": '"hi"', "max_output_tokens": "5"},
}
LONG = "7" * 5_000


def body_of(pairs: list[tuple[str, str]]) -> bytes:
    """``pairs``: keys without quotes and values, as they stand in the text."""
    return ("{" + ", ".join(f'"{key}": {value}' for key, value in pairs) + "}").encode()


def refused(kind: Kind, body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse(kind, body)
    return caught.value


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("model", "model"),
        ("mOdel", "model"),
        ("MODEL", "model"),
        (r"mod\u0065l", "model"),
        (r"\u004dodel", "model"),
        ("Max_Tokens", "max_tokens"),
        ("ma\u017f", "mas"),
        ("max_to\u212aens", "max_tokens"),
        (r"max_to\u212aens", "max_tokens"),
        ("max_token\u017f", "max_tokens"),
        ("be\u017ft_of", "best_of"),
        ("N", "n"),
        ("Best_Of", "best_of"),
        ("STREAM", "stream"),
        ("stop_\u0131", "stop_i"),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_key_that_readers_take_for_another_is_refused(kind: Kind, key: str, field: str, is_first: bool) -> None:
    pairs = [*BODIES[kind].items(), ("seed", LONG)]
    twin = [(key, '"expensive"')] if field == "model" else [(key, "9999")]
    twin += [] if field in FIELDS else [(field, "1")]
    fault = refused(kind, body_of(twin + pairs if is_first else pairs + twin))

    assert (fault.status, fault.param) == (400, field)


@pytest.mark.parametrize("key", ["mOdel", "Max_Tokens", "N", "Stream", "Messages"])
def test_key_in_other_letters_is_refused_alone_as_well(key: str) -> None:
    pairs = {name: value for name, value in BODIES[Kind.CHAT].items() if name != key.lower()}
    pairs.setdefault("model", '"cheap"')
    pairs.setdefault("messages", MESSAGES)
    fault = refused(Kind.CHAT, body_of([*pairs.items(), (key, "1")]))

    assert fault.param == key.lower()
    assert key in fault.message


@pytest.mark.parametrize(
    "options",
    [
        '{"include_usage": true, "include_usage": false}',
        '{"include_usage": true, "Include_Usage": false}',
        '{"INCLUDE_USAGE": true}',
        r'{"include_usage": true, "includ\u0065_usage": false}',
    ],
)
def test_options_of_a_stream_have_one_meaning_too(options: str) -> None:
    fault = refused(Kind.CHAT, body_of([*BODIES[Kind.CHAT].items(), ("stream", "true"), ("stream_options", options)]))

    assert fault.param == "stream_options.include_usage"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("metadata", '{"model": "a", "Model": "b", "model": "c"}'),
        ("messages", '[{"role": "user", "content": "\\"model\\": 1, \\"model\\": 2", "model": 1, "Model": 2}]'),
        ("tools", '[{"N": 1, "n": 2, "max_tokens": 3, "Max_Tokens": 4}]'),
        ("logit_bias", '{"a": 1, "A": 2}'),
        ("model_", '"model"'),
        ("models", '["model"]'),
        ("x_Max", "1"),
        ("XAI", "1"),
        ("seed", LONG),
        ("seed", "1e999"),
        ("stream_options", '{"include_usage": true}'),
        ("stream_options", '{ "include_usage" : false, "continuous_usage_stats": true }'),
        ("stream_options", "null"),
        ("\u65e5\u672c", "1"),
        ("stra\u00dfe", "1"),
        (r"a\u0000b", "1"),
    ],
)
def test_body_of_one_meaning_is_taken(key: str, value: str) -> None:
    body = body_of([*({**BODIES[Kind.CHAT], key: value}.items())])

    assert parse(Kind.CHAT, body).body is body


@pytest.mark.parametrize(
    "key", ["model\n", "model ", " model", "modele", "model\\u0000", "m\u00f6del", "mode1", "\u217fodel", "\uff4dodel"]
)
def test_key_that_no_reader_confuses_is_left_alone(key: str) -> None:
    pairs = [*BODIES[Kind.CHAT].items(), (key.replace("\n", "\\n"), '"expensive"')]

    assert parse(Kind.CHAT, body_of(pairs)).model == "cheap"


@pytest.mark.parametrize("count", [KEYS_MOST, 20 * KEYS_MOST])
def test_keys_are_counted(count: int) -> None:
    more = [(f"x{number}", "1") for number in range(count)]
    fault = refused(Kind.CHAT, body_of([*BODIES[Kind.CHAT].items(), *more]))

    assert str(KEYS_MOST) in fault.message


def test_long_key_is_refused() -> None:
    fault = refused(Kind.CHAT, body_of([*BODIES[Kind.CHAT].items(), ("x" * (NAME_MOST + 1), "1")]))

    assert len(fault.message) < 200


def test_every_field_that_is_read_or_translated_is_known() -> None:
    read = {name for request in REQUESTS.values() for name in request.__struct_fields__}
    translated = {*schema.ChatRequest.__struct_fields__}
    translated |= {*request._MessagesRequest.__struct_fields__}

    assert read | translated <= FIELDS
    assert all(re.fullmatch("[a-z_]+", name) for name in FIELDS)


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "a": 2}', '{"a": {"b": 1, "B": 2}}', '[{"a": 1, "\\u0061": 2}]', f'{{"a": {LONG}, "a": 1}}'],
)
def test_twins_anywhere_in_an_administrators_body_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        check_all_keys(text.encode())


# Small readers, as the languages' own: each returns the values of the fields that it knows as they stand in the text,
# or raises ValueError where the language's reader refuses the body.
Pairs = list[tuple[str, Any]]
READ = {
    Kind.CHAT: {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "best_of"},
    Kind.COMPLETION: {"model", "prompt", "stream", "stream_options", "max_tokens", "n", "best_of"},
    Kind.EMBEDDING: {"model", "input"},
    Kind.MESSAGE: {"model", "messages", "stream", "max_tokens"},
    Kind.RESPONSE: {"model", "input", "stream", "max_output_tokens"},
}
_GO_FOLDS = {"\u017f": "s", "\u212a": "k"}


class Number(str):
    """A number's text: no reader loses a digit of it."""


def pairs_of(body: bytes) -> Pairs:
    found: Pairs = json.loads(body, object_pairs_hook=list, parse_int=Number, parse_float=Number)
    return found


def go_folded(name: str) -> str:
    """As encoding/json: simple case folding, letter by letter."""
    return "".join(_GO_FOLDS.get(letter, letter.lower() if len(letter.lower()) == 1 else letter) for letter in name)


def python(pairs: Pairs, known: set[str]) -> dict[str, Any]:
    return {name: value for name, value in dict(pairs).items() if name in known}


def javascript(pairs: Pairs, known: set[str]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, value in pairs:
        read[name] = value
    return {name: read[name] for name in known if name in read}


def go(pairs: Pairs, known: set[str]) -> dict[str, Any]:
    """Any case is a match, a later one wins, and null leaves the field as it is."""
    read: dict[str, Any] = {}
    for name, value in pairs:
        field = name if name in known else go_folded(name)
        if field in known and not (value is None and field in read):
            read[field] = value
    return read


def rust(pairs: Pairs, known: set[str]) -> dict[str, Any]:
    """serde: a field that comes twice is an error."""
    names = [name for name, _ in pairs if name in known]
    if len(set(names)) < len(names):
        raise ValueError("duplicate field")
    return {name: value for name, value in pairs if name in known}


READERS: list[Callable[[Pairs, set[str]], dict[str, Any]]] = [python, javascript, go, rust]


def readings(kind: Kind, body: bytes) -> Iterator[dict[str, Any]]:
    pairs = pairs_of(body)
    for reader in READERS:
        read = reader(pairs, READ[kind])
        options = read.get("stream_options")
        if isinstance(options, list):
            read["stream_options"] = reader(options, {"include_usage"})
        yield read


def _letters(name: str) -> st.SearchStrategy[str]:
    """The name in other letters: cases, folds, escapes."""

    def forms(letter: str) -> st.SearchStrategy[str]:
        odd = {"s": ["\u017f", r"\u017f"], "k": ["\u212a", r"\u212a"], "i": ["\u0131", "\u0130"]}.get(letter, [])
        escaped = [f"\\u{ord(letter):04x}", f"\\u{ord(letter.upper()):04X}"]
        return st.sampled_from([letter] * 12 + [letter.upper(), *escaped, *odd])

    return st.tuples(*map(forms, name)).map("".join)


_VALUES = st.sampled_from(
    ['"expensive"', "null", "9999", LONG, "1e999", "-1", "0.5", "true", '"9"', "[]", '{"model": "x"}', MESSAGES]
)
_OPTIONS = st.lists(
    st.tuples(_letters("include_usage"), st.sampled_from(["true", "false", "null"])), min_size=0, max_size=2
).map(lambda pairs: body_of(pairs).decode())
_NEUTRAL = st.sampled_from([("seed", LONG), ("metadata", '{"model": "a", "Model": "b"}'), ("user", '"model"')])


@st.composite
def twins(draw: st.DrawFn) -> tuple[Kind, bytes]:
    kind = draw(st.sampled_from(Kind))
    pairs = [*BODIES[kind].items()]
    for name in draw(st.lists(st.sampled_from(sorted(READ[kind])), max_size=2)):
        value = draw(_OPTIONS if name == "stream_options" else _VALUES)
        pairs.insert(draw(st.integers(0, len(pairs))), (draw(_letters(name)), value))
    for pair in draw(st.lists(_NEUTRAL, max_size=1)):
        pairs.insert(draw(st.integers(0, len(pairs))), pair)
    return kind, body_of(pairs)


def taken(kind: Kind, body: bytes) -> Call | None:
    try:
        return parse(kind, body)
    except InvalidRequest:
        return None


@settings(max_examples=700, deadline=None, derandomize=True, database=None)
@given(twins())
def test_request_is_refused_or_all_readers_agree(twin: tuple[Kind, bytes]) -> None:
    kind, body = twin
    call = taken(kind, body)
    if call is None:
        return
    for sent in (body, with_fields(body, {"model": call.model})):
        first, *others = readings(kind, sent)
        assert all(other == first for other in others)
        assert call.model == first["model"]
        assert call.is_stream == (first.get("stream") is True and kind is not Kind.EMBEDDING)
        options = first.get("stream_options")
        assert call.include_usage == (isinstance(options, dict) and options.get("include_usage") is True)


_KEYS = st.sampled_from(["model", "Model", "n", "N", "a", "A", "max_tokens"])
_CONTENT = st.recursive(
    st.sampled_from(["1", "null", '"model"', '"\\"model\\": 1"', LONG]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(_KEYS, inner), max_size=3).map(lambda pairs: body_of(pairs).decode())
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(Kind), st.dictionaries(st.sampled_from(["metadata", "x", "tools", "user"]), _CONTENT))
def test_content_never_makes_a_twin(kind: Kind, more: dict[str, str]) -> None:
    assert parse(kind, body_of([*BODIES[kind].items(), *more.items()])).model == "cheap"
