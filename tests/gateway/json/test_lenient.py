from typing import Any

import msgspec
import pytest

from gateway.json.lenient import (
    NOT_DECODED,
    as_count,
    as_index,
    as_objects,
    as_text,
    decoded,
    encoded,
    loaded,
    read,
)
from gateway.json.malformed import Malformed


class Answer(msgspec.Struct, frozen=True):
    text: str
    raw: msgspec.Raw = msgspec.Raw(b"null")


ANSWER = msgspec.json.Decoder(Answer)


def as_answer(value: Any) -> Any:
    return {**value, "text": as_text(value["text"])}


def test_a_strict_answer_is_not_restored() -> None:
    def fail(value: Any) -> Any:
        raise AssertionError(value)

    answer = decoded(ANSWER, b'{"text": "a", "raw": 1.10}', fail)

    assert (answer.text, bytes(answer.raw)) == ("a", b"1.10")


def test_an_odd_answer_is_restored() -> None:
    assert decoded(ANSWER, b'{"text": 7}', as_answer).text == "7"


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"text": "\xff"}', b'{"text": "a", "raw": "\xff"}', b'{"text": null}', b"[" * 100_000]
)
def test_what_is_unreadable_even_then_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decoded(ANSWER, data, as_answer)


def test_halves_of_surrogate_pairs_and_numbers_that_are_none_are_read() -> None:
    value = loaded(b'{"a": "\\ud83d", "b": "\\ud83d\\ude00", "c": NaN, "d": -Infinity, "e": 12345678901234567890123}')

    assert encoded(value).decode() == '{"a":"\ufffd","b":"😀","c":null,"d":null,"e":12345678901234567890123}'


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a": 1.5}', {"a": 1.5}),
        (b'{"a": "\\ud83d", "b": NaN, "c": 1e999}', {"a": "\ufffd", "b": None, "c": None}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
    ],
)
def test_value_that_was_read_can_be_written_again(data: bytes, value: object) -> None:
    assert read(data) == value
    assert msgspec.json.decode(msgspec.json.encode(read(data))) == value


@pytest.mark.parametrize("data", [b"", b"{", b'"\xff"', b"[" * 100_000])
def test_bytes_that_are_no_json_are_not_read(data: bytes) -> None:
    with pytest.raises(NOT_DECODED):
        read(data)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (3, 3),
        (3.9, 3),
        ("4", 4),
        (-1, 0),
        (10**30, 2**50),
        (1e999, 2**50),
        ("x", None),
        ("", None),
        ("nan", None),
        (None, None),
        (True, None),
        ([], None),
    ],
)
def test_counts_are_whole_and_bounded(value: object, count: int | None) -> None:
    assert as_count(value) == count


@pytest.mark.parametrize(
    ("value", "index"), [(0, 0), ("2", 2), (1.5, None), (-1, None), ("²", None), (True, None), (10**30, None)]
)
def test_an_index_is_a_small_number(value: object, index: int | None) -> None:
    assert as_index(value) == index


def test_a_list_of_objects_holds_nothing_else() -> None:
    assert as_objects([{}, None, "a", {"b": 1}]) == [{}, {"b": 1}]
    assert as_objects({"a": 1}) == []
