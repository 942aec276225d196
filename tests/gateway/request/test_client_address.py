"""The address of a request's client: the connection's, or that reported by a trusted proxy; never a client's claim."""

import pytest

from gateway.http.host_header import Headers
from gateway.request.client_address import ClientAddress, network_of

PROXIES = ClientAddress(["10.0.0.0/8", "fd00::/8"])


def forwarded(*lines: str) -> Headers:
    return [(b"host", b"gateway"), *((b"x-forwarded-for", line.encode("latin-1")) for line in lines)]


@pytest.mark.parametrize(
    ("peer", "lines", "address"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # anyone may write this
        ("10.0.0.7", [], "10.0.0.7"),
        ("10.0.0.7", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.7", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),  # the client wrote the first one
        ("10.0.0.7", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.7", ["198.51.100.1, 10.0.0.8, 10.0.0.9"], "198.51.100.1"),
        ("10.0.0.7", ["10.0.0.8, 10.0.0.9"], "10.0.0.8"),
        ("10.0.0.7", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.7", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.7", ["2001:DB8::1"], "2001:db8::1"),
        ("10.0.0.7", ["198.51.100.1, unknown"], "10.0.0.7"),
        ("10.0.0.7", [""], "10.0.0.7"),
        ("10.0.0.7", ["198.51.100.1, "], "10.0.0.7"),
        ("10.0.0.7", ["\xff"], "10.0.0.7"),
        ("::ffff:10.0.0.7", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("11.0.0.7", ["198.51.100.1"], "11.0.0.7"),
    ],
)
def test_last_address_that_is_no_trusted_proxy_counts(peer: str, lines: list[str], address: str) -> None:
    assert PROXIES.of((peer, 1), forwarded(*lines)) == address


@pytest.mark.parametrize(
    ("peer", "address"),
    [("203.0.113.9", "203.0.113.9"), ("::ffff:203.0.113.9", "203.0.113.9"), ("2001:db8::1", "2001:db8::1"), ("", "")],
)
def test_without_trusted_proxies_the_connection_counts(peer: str, address: str) -> None:
    client = (peer, 1) if peer else None

    assert ClientAddress([]).of(client, forwarded("198.51.100.1")) == address


def test_other_headers_of_proxies_are_not_believed() -> None:
    headers = [(b"forwarded", b"for=198.51.100.1"), (b"x-real-ip", b"198.51.100.1"), (b"true-client-ip", b"1.1.1.1")]

    assert PROXIES.of(("10.0.0.7", 1), headers) == "10.0.0.7"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("2001:db8:1:3::", "2001:db8:1:3::"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("", ""),
    ],
)
def test_subscriber_has_an_ipv4_address_or_half_of_an_ipv6_address(address: str, network: str) -> None:
    assert network_of(address) == network


def test_endless_list_of_proxies_is_read_from_its_end_only() -> None:
    line = ", ".join(["198.51.100.1", *["10.0.0.9"] * 10_000])

    assert PROXIES.of(("10.0.0.7", 1), forwarded(line)) == "10.0.0.9"
