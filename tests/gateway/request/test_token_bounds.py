"""Bounds on the work that a request orders: they hold for the most lenient reader, and reading them costs little."""

import tracemalloc

import pytest

from gateway.errors import InvalidRequest
from gateway.request.calls import Kind, parse
from gateway.request.token_bounds import MESSAGES_MOST, TOKENS_MOST

MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'


def chat(fields: bytes) -> bytes:
    return b'{"model":"m",%b,%b}' % (MESSAGES, fields)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (b"7", 7),
        (b"7.0", 7),
        (b"6.1", 7),
        (b"7e0", 7),
        (b"-7", 0),
        (b"null", 0),
        (b"true", 1),
        (b"false", 0),
        (b'"7"', 7),
        (b'" 7 "', 7),
        (b'"\\u0037"', 7),
        (b'"0x7"', 7),
        (b'"1e3"', 1000),
        (b'"seven"', 0),
        (b'"nan"', 0),
        (b'"Infinity"', TOKENS_MOST),
        (b'"-Infinity"', 0),
        (b"9" * 20, TOKENS_MOST),
        (b"9" * 64, TOKENS_MOST),
        (b"1e300", TOKENS_MOST),
        (b"[7]", 0),
        (b"{}", 0),
        (b"[" + b"7," * 1000 + b"7]", 0),
    ],
)
def test_number_is_read_as_the_most_lenient_provider_does(value: bytes, count: int) -> None:
    call = parse(Kind.CHAT, chat(b'"max_tokens":%b,"n":%b' % (value, value)))

    assert (call.output_most, call.choices) == (count, max(1, count))


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "n", "best_of"])
@pytest.mark.parametrize(
    "value", [b"9" * 65, b"9" * 5_000, b"0." + b"0" * 63 + b"1", b'"' + b" " * 70 + b'7"', b"1e999"]
)
def test_number_that_readers_do_not_agree_on_is_refused(field: str, value: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(Kind.CHAT, chat(b'"%b":%b' % (field.encode(), value)))

    assert (caught.value.status, caught.value.param) == (400, field)


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [
        *[(b'"hi"', 2), (b'["a","b","c"]', 6), (b"[1,2,3]", 2), (b"[ 1 ]", 2), (b"[[1],[2]]", 4)],
        *[(b"[1.5,2]", 4), (b'[1,"a"]', 4), (b"null", 2)],
    ],
)
def test_each_prompt_is_answered(prompt: bytes, choices: int) -> None:
    assert parse(Kind.COMPLETION, b'{"model":"m","n":2,"prompt":%b}' % prompt).choices == choices


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        *[(Kind.COMPLETION, "prompt", value) for value in (b"[ ]", b"[]", b"{}", b"5", b"true")],
        *[(Kind.EMBEDDING, "input", value) for value in (b"[ ]", b"[]", b"{}", b"null", b"5", b"true")],
    ],
)
def test_content_is_a_text_or_a_list(kind: Kind, field: str, value: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(kind, b'{"model":"m","%b":%b}' % (field.encode(), value))

    assert caught.value.param == field


@pytest.mark.parametrize("value", [b"[]", b"null", b'""', b'[{}, "text"]', b"[{}]"])
def test_input_of_a_response_may_be_empty(value: bytes) -> None:
    assert parse(Kind.RESPONSE, b'{"model":"m","input":%b}' % value).model == "m"


LISTS = {
    Kind.CHAT: ("messages", b"{}", b""),
    Kind.MESSAGE: ("messages", b"{}", b',"max_tokens":5'),
    Kind.RESPONSE: ("input", b"{}", b""),
    Kind.COMPLETION: ("prompt", b'""', b""),
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize(("count", "most"), [(5, 5), (6, 5), (MESSAGES_MOST, MESSAGES_MOST), (340_000, MESSAGES_MOST)])
def test_messages_are_counted(kind: Kind, count: int, most: int) -> None:
    field, item, more = LISTS[kind]
    body = b'{"model":"m","%b":[%b]%b}' % (field.encode(), b",".join([item] * count), more)
    try:
        parse(kind, body, most)
        refused = None
    except InvalidRequest as error:
        refused = error.param

    assert refused == (field if count > most else None)


MIXED = {
    "texts of embeddings": (Kind.EMBEDDING, "input", b'"a"', b'"b"'),
    "tokens of embeddings": (Kind.EMBEDDING, "input", b"[1]", b"[2]"),
    "a number before texts": (Kind.EMBEDDING, "input", b"1", b'"b"'),
    "an object before texts": (Kind.RESPONSE, "input", b"{}", b'"b"'),
    "a text before objects": (Kind.RESPONSE, "input", b'"a"', b"{}"),
    "numbers of a response": (Kind.RESPONSE, "input", b"1", b"2"),
    "a number before prompts": (Kind.COMPLETION, "prompt", b"1", b'"b"'),
}


@pytest.mark.parametrize(("kind", "field", "first", "item"), MIXED.values(), ids=MIXED)
@pytest.mark.parametrize("count", [MESSAGES_MOST, MESSAGES_MOST + 1, 200_000])
def test_items_of_every_list_are_counted(kind: Kind, field: str, first: bytes, item: bytes, count: int) -> None:
    body = b'{"model":"m","%b":[%b]}' % (field.encode(), b",".join([first, *[item] * (count - 1)]))
    try:
        parse(kind, body)
        refused = None
    except InvalidRequest as error:
        refused = error.param

    assert refused == (field if count > MESSAGES_MOST else None)


@pytest.mark.parametrize(("kind", "field"), [(Kind.EMBEDDING, "input"), (Kind.COMPLETION, "prompt")])
def test_tokens_of_one_text_are_one_item(kind: Kind, field: str) -> None:
    body = b'{"model":"m","%b":[%b]}' % (field.encode(), b",".join([b"17"] * 100_000))

    assert parse(kind, body).choices == 1


@pytest.mark.parametrize(
    "fields",
    [
        b'"messages":[' + b",".join([b"{}"] * 3_400_000) + b"]",
        b'"messages":[{"content":[' + b",".join([b"{}"] * 3_400_000) + b"]}]",
        b'"messages":[{"content":[' + b",".join([b"[]"] * 3_400_000) + b"]}]",
        MESSAGES + b"," + b",".join([b'"a":1'] * 1_700_000),
        MESSAGES + b',"n":{' + b",".join([b'"a":1'] * 1_700_000) + b"}",
        MESSAGES + b',"stream_options":{' + b",".join([b'"a":1'] * 1_700_000) + b"}",
        MESSAGES + b',"x":' + b"[" * 5_000_000 + b"]" * 5_000_000,
        MESSAGES + b',"seed":[' + b",".join([b"1"] * 5_000_000) + b"]",
    ],
    ids=["messages", "objects", "lists", "keys", "keys of a number", "keys of options", "levels", "numbers"],
)
def test_body_of_many_parts_is_refused_before_it_costs_memory(fields: bytes) -> None:
    body = b'{"model":"m",%b}' % fields
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest) as caught:
            parse(Kind.CHAT, body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert caught.value.status == 400
    assert peak < 12_000_000
