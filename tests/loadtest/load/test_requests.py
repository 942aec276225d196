"""Requests: the mixes, and the dimensions that are counted separately."""

from collections import Counter

import msgspec
import pytest

from loadtest.load.requests import Choice, Request, Requests, Target

URL = "http://gateway:8080/v1/chat/completions"


def draw(count: int, **fields: object) -> list[Request]:
    requests = Requests(msgspec.convert({"urls": [URL], **fields}, Target), seed=1)
    return [requests.next() for _ in range(count)]


def test_models_come_in_their_shares() -> None:
    drawn = draw(4000, models=[Choice("a", 70), Choice("b", 30)])

    assert Counter(request.model for request in drawn)["a"] == pytest.approx(2800, rel=0.05)
    assert all(f'"model":"{request.model}"'.encode() in request.wire for request in drawn)


def test_tenants_and_priorities_are_mixed_independently_of_models() -> None:
    drawn = draw(
        8000,
        models=[Choice("a"), Choice("b")],
        keys=["secret-1", "secret-2"],
        priorities=[Choice("high", 1), Choice("low", 3)],
    )
    counts = Counter((request.model, request.tenant, request.priority) for request in drawn)

    assert len(counts) == 8
    assert counts["a", "key 2", "low"] == pytest.approx(1500, rel=0.1)
    assert counts["b", "key 1", "high"] == pytest.approx(500, rel=0.15)
    for request in drawn[:50]:
        number = str(request.tenant).removeprefix("key ")
        assert f"authorization: Bearer secret-{number}\r\n".encode() in request.wire
        assert f"x-pllm-priority: {request.priority}\r\n".encode() in request.wire


def test_key_is_never_a_name_that_a_report_shows() -> None:
    assert {request.tenant for request in draw(20, keys=["secret-1", "secret-2"])} == {"key 1", "key 2"}
    assert draw(1, keys=["secret"])[0].tenant is None


def test_addresses_take_turns() -> None:
    drawn = draw(4, urls=["http://a/x", "https://b:1/y?z"])

    assert [request.address.host for request in drawn] == ["a", "b", "a", "b"]
    assert (drawn[0].address.port, drawn[0].address.is_secure) == (80, False)
    assert (drawn[1].address.port, drawn[1].address.is_secure) == (1, True)
    assert drawn[1].wire.startswith(b"POST /y?z HTTP/1.1\r\nhost: b:1\r\n")


def test_same_seed_draws_the_same_requests() -> None:
    mix = [Choice("a"), Choice("b")]

    assert draw(50, models=mix) == draw(50, models=mix)


def test_request_elsewhere_is_the_same_but_for_its_address() -> None:
    target = Target(urls=["http://a/x", "http://b/x", "http://c/x"], models=[Choice("m"), Choice("n")], keys=["k", "l"])
    requests = Requests(target, 1)
    request = requests.next()
    others = [requests.elsewhere(request)]
    others.append(requests.elsewhere(others[0]))

    assert [other.address.host for other in others] == ["b", "c"]
    assert {(other.model, other.tenant) for other in others} == {(request.model, request.tenant)}
    assert requests.elsewhere(others[1]) is request
