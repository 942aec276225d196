"""Connecting: addresses in turn, names looked up once, TLS with real certificates, and tunnels through a proxy."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.upstream.fault_words import fault_words
from gateway.upstream.http.addresses import Address, Addresses
from gateway.upstream.http.client import HttpClient
from gateway.upstream.http.connect import Connector, interleaved
from gateway.upstream.http.faults import AddressesFailed, ConnectTimeout, HttpFault, NotConnected
from gateway.upstream.http.proxies import Proxies
from gateway.upstream.http.request import request
from tests.gateway.upstream.http.conftest import Runner
from tests.support.certificates import Authority
from tests.support.http_servers import answering, fetched, listening

GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
V4, V6 = socket.AF_INET, socket.AF_INET6


def test_families_take_turns() -> None:
    addresses = [(V6, (name, 1)) for name in "abc"] + [(V4, (name, 1)) for name in "xy"]

    assert [address[1][0] for address in interleaved(addresses)] == ["a", "x", "b", "y", "c"]


async def raced(addresses: Sequence[str], port: int) -> str:
    """Returns the address that a race connects to. Raises OSError."""
    connector = Connector()
    won = await connector._race([(V4, (address, port)) for address in addresses])
    with won:
        return str(won.getpeername()[0])


def test_refused_address_is_followed_by_the_next(on_loop: Runner) -> None:
    async def run() -> str:
        async with listening(answering(GOOD)) as port:
            return await raced(["127.0.0.2", "127.0.0.1"], port)

    assert on_loop(run()) == "127.0.0.1"


def test_silent_address_is_overtaken_by_the_next(on_loop: Runner) -> None:
    """A full backlog: the first address answers no SYN."""

    async def run() -> str:
        with socket.socket() as silent, socket.socket() as first, socket.socket() as second:
            silent.bind(("127.0.0.3", 0))
            silent.listen(0)
            port = silent.getsockname()[1]
            for filling in (first, second):
                filling.setblocking(False)
                filling.connect_ex(("127.0.0.3", port))
            async with listening(answering(GOOD), port=port):
                return await raced(["127.0.0.3", "127.0.0.1"], port)

    assert on_loop(run()) == "127.0.0.1"


def test_addresses_that_fail_differently_keep_their_faults(on_loop: Runner) -> None:
    async def run() -> list[int | None]:
        connector = Connector()
        try:
            await connector._race([(V4, ("127.0.0.1", 1)), (V6, ("127.0.0.1", 1))])
        except AddressesFailed as failed:
            return [each.errno for each in failed.faults]
        return []

    numbers = on_loop(run())

    assert numbers[0] == errno.ECONNREFUSED
    assert len(numbers) == 2


def test_addresses_that_are_all_refused_are_one_refusal(on_loop: Runner) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=r"127") as caught:
            on_loop(raced(["127.0.0.2", "127.0.0.1"], unused.getsockname()[1]))

    assert caught.value.errno == errno.ECONNREFUSED


def test_name_is_looked_up_once_for_calls_at_once_and_again_after_a_failure(on_loop: Runner) -> None:
    class Counting(Addresses):
        lookups = 0

        async def _look_up(self, host: str, port: int) -> Sequence[Address]:
            self.lookups += 1
            return await super()._look_up(host, port)

    async def run() -> list[int]:
        addresses = Counting()
        await asyncio.gather(*(addresses.of("localhost", 1) for _ in range(5)))
        await addresses.of("localhost", 1)
        counts = [addresses.lookups]
        addresses.forget("localhost", 1)
        await addresses.of("localhost", 1)
        return [*counts, addresses.lookups]

    assert on_loop(run()) == [1, 2]


@pytest.mark.parametrize("url", ["http://no-such-host.invalid/", "http://a..b/", "http://" + "x" * 70 + "/"])
def test_name_without_an_address_is_named(on_loop: Runner, url: str) -> None:
    async def run() -> None:
        async with HttpClient() as http:
            await fetched(http, url)

    with pytest.raises(NotConnected) as caught:
        on_loop(run())

    assert fault_words(caught.value).startswith("name not found")


def test_handshake_that_hangs_ends_with_the_time_to_connect(on_loop: Runner) -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def run() -> None:
        async with listening(silent) as port, HttpClient() as http:
            await http.send(request("GET", f"https://127.0.0.1:{port}/"), b"", 0.05)

    with pytest.raises(ConnectTimeout) as caught:
        on_loop(run())

    assert fault_words(caught.value) == "timed out while connecting"


def contexts(folder: Path, *, days: int = 90) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Returns the TLS of a server on this machine, and that of a client which trusts its authority."""
    authority = Authority(folder)
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    server.load_cert_chain(*authority.issue("server", days=days))
    server.set_alpn_protocols(["h2", "http/1.1"])
    client.load_verify_locations(authority.certificate)
    client.set_alpn_protocols(["http/1.1"])
    return server, client


def test_calls_over_tls_share_a_connection_of_http_1_1(on_loop: Runner, tmp_path: Path) -> None:
    server, client = contexts(tmp_path)
    protocols = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocols.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await answering(GOOD, is_kept=True)(reader, writer)

    async def run() -> list[tuple[int, bytes]]:
        async with listening(handle, ssl=server) as port, HttpClient(tls=client) as http:
            return [await fetched(http, f"https://localhost:{port}/", b"x" * 100_000) for _ in range(3)]

    assert on_loop(run()) == [(200, b"{}")] * 3
    assert protocols == ["http/1.1"]


@pytest.mark.parametrize(
    ("host", "days", "is_trusted", "words"),
    [
        ("localhost", 90, False, "certificate: not trusted"),
        ("localhost", -1, True, "certificate: expired"),
        ("127.0.0.2", 90, True, "certificate: hostname mismatch"),
    ],
)
def test_certificate_that_does_not_hold_is_refused(
    on_loop: Runner, tmp_path: Path, host: str, days: int, is_trusted: bool, words: str
) -> None:
    server, client = contexts(tmp_path, days=days)
    heads = []

    async def handle(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.read())

    async def run() -> None:
        trusting = client if is_trusted else None
        async with listening(handle, "0.0.0.0", ssl=server) as port, HttpClient(tls=trusting) as http:
            await fetched(http, f"https://{host}:{port}/")

    with pytest.raises(HttpFault) as caught:
        on_loop(run())

    assert (fault_words(caught.value), heads) == (words, [])


def test_tls_call_passes_a_proxy_by_a_tunnel(on_loop: Runner, tmp_path: Path) -> None:
    server, client = contexts(tmp_path)
    heads = []

    async def run() -> list[tuple[int, bytes]]:
        async with listening(answering(GOOD, is_kept=True), ssl=server) as port:

            async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                theirs_in, theirs_out = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                copies = (copied(reader, theirs_out), copied(theirs_in, writer))
                await asyncio.gather(*copies)
                theirs_out.close()

            async with listening(tunnel) as proxy:
                proxies = Proxies({"https": f"http://user:pass@127.0.0.1:{proxy}"})
                async with HttpClient(tls=client, proxies=proxies) as http:
                    url = f"https://localhost.:{port}/"  # without the dot it takes no proxy
                    return [await fetched(http, url) for _ in range(2)]

    assert on_loop(run()) == [(200, b"{}")] * 2
    assert len(heads) == 1
    assert heads[0].startswith(b"CONNECT localhost.:")
    assert b"\r\nproxy-authorization: Basic dXNlcjpwYXNz\r\n" in heads[0]


async def copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()
