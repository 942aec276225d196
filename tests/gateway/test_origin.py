"""Admin calls from a browser: which pages make them, and by what name the gateway was asked for."""

import pytest

from gateway.origin import is_cross_origin, is_named_locally

HOST = (b"host", b"127.0.0.1:8080")


@pytest.mark.parametrize(
    ("header", "crosses"),
    [
        ((b"sec-fetch-site", b"same-origin"), False),
        ((b"sec-fetch-site", b"none"), False),
        ((b"sec-fetch-site", b"same-site"), True),  # another port of this machine is somebody else
        ((b"sec-fetch-site", b"cross-site"), True),
        ((b"sec-fetch-site", b"nonsense"), True),
        ((b"origin", b"http://127.0.0.1:8080"), False),
        ((b"origin", b"http://127.0.0.1:8081"), True),
        ((b"origin", b"http://evil.example"), True),
        ((b"origin", b"http://127.0.0.1:8080.evil.example"), True),
        ((b"origin", b"null"), True),
        ((b"origin", b""), True),
        ((b"user-agent", b"curl"), False),
    ],
)
def test_browsers_tell_who_made_the_call(header: tuple[bytes, bytes], crosses: bool) -> None:
    assert is_cross_origin([HOST, header]) is crosses


def test_one_wrong_origin_among_several_is_enough() -> None:
    assert is_cross_origin([HOST, (b"origin", b"http://127.0.0.1:8080"), (b"origin", b"http://evil.example")])


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "LOCALHOST:1", "a.localhost", "127.0.0.1:80", "[::1]:80"]
)
def test_names_of_this_machine_are_local(host: str) -> None:
    assert is_named_locally([(b"host", host.encode())])


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "192.168.1.5", "[2001:db8::1]", "", "\xff", "["],
)
def test_any_other_name_may_be_somebody_elses(host: str) -> None:
    assert not is_named_locally([(b"host", host.encode("latin-1"))])


def test_client_that_names_no_host_is_no_browser() -> None:
    assert is_named_locally([])
