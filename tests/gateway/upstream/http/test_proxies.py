"""Which calls take a proxy, and what the proxy is sent."""

import asyncio
import base64
import os
from collections.abc import Mapping
from unittest.mock import patch

import pytest

from gateway.configuration.settings import ConfigurationError
from gateway.upstream.fault_words import fault_words
from gateway.upstream.http.client import HttpClient
from gateway.upstream.http.faults import ProxyRefused
from gateway.upstream.http.proxies import Proxies, Proxy, proxy
from gateway.upstream.http.request import Origin, request
from tests.gateway.upstream.http.conftest import Runner
from tests.support.http_servers import CONNECT_S, listening, whole

NAMED = {"http": "http://plain:3128", "https": "secure:3129"}
PLAIN, SECURE = Proxy("plain", 3128), Proxy("secure", 3129)
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    ("origin", "no", "expected"),
    [
        (Origin("a.example", 80), "", PLAIN),
        (Origin("a.example", 443, is_tls=True), "", SECURE),
        (Origin("a.example", 80), "*", None),
        (Origin("a.example", 80), "b.example, a.example", None),
        (Origin("a.example", 80), "EXAMPLE", None),
        (Origin("a.example", 80), ".example", None),
        (Origin("a.example", 80), "*.example", None),
        (Origin("notexample", 80), "example", PLAIN),
        (Origin("a.example", 8080), "a.example:8080", None),
        (Origin("a.example", 8080), "a.example:80", PLAIN),
        (Origin("10.1.2.3", 80), "10.0.0.0/8", None),
        (Origin("10.1.2.3", 80), "10.1.2.3", None),
        (Origin("11.1.2.3", 80), "10.0.0.0/8", PLAIN),
        (Origin("fd00::1", 80), "fd00::/8", None),
        (Origin("localhost", 80), "", None),
        (Origin("127.0.0.2", 80), "", None),
        (Origin("::1", 80), "", None),
    ],
)
def test_proxy_is_found_by_scheme_and_exceptions(origin: Origin, no: str, expected: Proxy | None) -> None:
    assert Proxies(NAMED | {"no": no}).of(origin) == expected


@pytest.mark.parametrize("named", [{}, {"http": ""}])
def test_without_a_name_there_is_no_proxy(named: Mapping[str, str]) -> None:
    assert Proxies(named).of(Origin("a", 80)) is None


def test_proxies_come_from_the_environment() -> None:
    with patch.dict(os.environ, {"HTTPS_PROXY": "http://secure:3129", "no_proxy": "b.example"}, clear=True):
        found = Proxies()

    assert found.of(Origin("a.example", 443, is_tls=True)) == SECURE
    assert found.of(Origin("b.example", 443, is_tls=True)) is None
    assert found.of(Origin("a.example", 80)) is None


def test_credentials_of_a_proxy_become_a_header() -> None:
    words = base64.b64encode("ü:p@ss".encode())

    assert proxy("http", "http://%C3%BC:p%40ss@host").authorization == b"proxy-authorization: Basic " + words + b"\r\n"


@pytest.mark.parametrize(
    "address", ["socks5://user:secret@host", "https://user:secret@host", "http://", "http://:secret@"]
)
def test_other_proxy_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY: must be") as caught:
        proxy("https", address)

    assert "secret" not in str(caught.value)


async def through(url: str, answer: bytes) -> tuple[bytes, int, bytes]:
    """Returns what a proxy gets for a call to this address, and the answer's status and body. Raises HttpFault."""
    heads = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await reader.read()

    async with listening(handle) as port:
        named = f"http://user:pass@127.0.0.1:{port}"
        async with HttpClient(proxies=Proxies({"http": named, "https": named})) as http:
            response = await http.send(request("GET", url, [("x", "y")]), b"", CONNECT_S)
            return heads[0], response.status, await whole(response)


def test_plain_call_names_the_whole_address_to_its_proxy(on_loop: Runner) -> None:
    assert on_loop(through("http://api.invalid:81/a?b", GOOD)) == (
        b"GET http://api.invalid:81/a?b HTTP/1.1\r\nhost: api.invalid:81\r\nx: y\r\nproxy-authorization: %b\r\n\r\n"
        % b"Basic dXNlcjpwYXNz",
        200,
        b"{}",
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
            "the proxy refused to connect (407)",
        ),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "the proxy refused to connect (502)"),
        (b"HTTP/1.1 200 OK\r\n\r\nearly", "the proxy refused to connect (200)"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the proxy refused to connect (no HTTP)"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000, "the proxy refused to connect (200)"),
    ],
    ids=["407", "502", "bytes after the head", "no HTTP", "head without end"],
)
def test_proxy_that_refuses_is_named(on_loop: Runner, answer: bytes, words: str) -> None:
    with pytest.raises(ProxyRefused) as caught:
        on_loop(through("https://api.invalid/", answer))

    assert fault_words(caught.value) == words
