"""The headers in which a request narrows its own routing."""

import pytest

from gateway.configuration.rules import MAX_CANDIDATES
from gateway.errors import InvalidRequest
from gateway.request.wishes import NO_WISHES, Wishes, routing_headers, wishes_of

FALLBACKS, ATTEMPTS = b"x-pllm-fallbacks", b"x-pllm-max-attempts"
PLAIN = [(b"host", b"gateway"), (b"x-stainless-retry-count", b"0"), (b"x-pllm-timeout", b"30s")]


def test_plain_request_has_no_wishes() -> None:
    assert routing_headers(PLAIN) == []
    assert wishes_of([]) == NO_WISHES


@pytest.mark.parametrize(
    ("value", "fallbacks"),
    [
        (b"none", ()),
        (b" none ", ()),
        (b"b", ("b",)),
        (b"b,c", ("b", "c")),
        (b" b , org/c:1 ", ("b", "org/c:1")),
        (b"b,b,c", ("b", "c")),
        (b"none,b", ("none", "b")),  # `none` is only alone a word of the gateway
        (b"\xff", ("\ufffd",)),  # an unknown model, like any other
        (b",".join(b"m%d" % n for n in range(MAX_CANDIDATES - 1)), tuple(f"m{n}" for n in range(MAX_CANDIDATES - 1))),
    ],
)
def test_fallbacks_are_models_in_order(value: bytes, fallbacks: tuple[str, ...]) -> None:
    assert wishes_of(routing_headers([*PLAIN, (FALLBACKS, value)])) == Wishes(fallbacks)


def test_repeated_header_is_one_list() -> None:
    assert wishes_of([(FALLBACKS, b"b"), (ATTEMPTS, b"2"), (FALLBACKS, b"c")]) == Wishes(("b", "c"), 2)


@pytest.mark.parametrize("value", [b"", b" ", b",", b"b,", b",b", b"b,,c", b",".join(b"m%d" % n for n in range(20))])
def test_list_that_cannot_be_read_is_refused_with_its_header(value: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        wishes_of([(FALLBACKS, value)])

    assert refused.value.param == "x-pllm-fallbacks"


def test_list_of_a_megabyte_is_refused_in_few_words() -> None:
    with pytest.raises(InvalidRequest) as refused:
        wishes_of([(FALLBACKS, b"m," * 500_000)])

    assert len(refused.value.message) < 200


@pytest.mark.parametrize(("value", "count"), [(b"1", 1), (b" 3 ", 3), (b"999999999", 999_999_999)])
def test_number_of_attempts_is_read(value: bytes, count: int) -> None:
    assert wishes_of([(ATTEMPTS, value)]) == Wishes(max_attempts=count)


@pytest.mark.parametrize(
    "value", [b"", b"0", b"-1", b"+1", b"01", b"1.0", b"1e1", b"two", b"9" * 10, b"9" * 100_000, b"\xb2"]
)
def test_number_that_is_no_count_is_refused_with_its_header(value: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        wishes_of([(ATTEMPTS, value)])

    assert refused.value.param == "x-pllm-max-attempts"


def test_two_numbers_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        wishes_of([(ATTEMPTS, b"1"), (ATTEMPTS, b"2")])
