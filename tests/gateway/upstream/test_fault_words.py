"""Every kind of transport fault has its description, without any part of an exception's own text."""

import asyncio
import errno
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http_exceptions import BadStatusLine, LineTooLong, TransferEncodingError

from gateway.upstream.fault_words import WORDS_MOST, EndlessAnswer, fault_words
from tests.support.programs import program

KEY = ConnectionKey("api.example.com", 443, True, True, None, None, None)
SECRET = "sk-secret-0123456789"


def connector(error: OSError, kind: type[aiohttp.ClientConnectorError] = aiohttp.ClientConnectorError) -> Exception:
    return kind(KEY, error)


def certificate(verify_code: int) -> Exception:
    error = ssl.SSLCertVerificationError(1, f"certificate verify failed: {SECRET}")
    error.verify_code, error.verify_message = verify_code, SECRET
    return aiohttp.ClientConnectorCertificateError(KEY, error)


def tls(reason: str) -> Exception:
    error = ssl.SSLError(1, f"[SSL: {reason}] {SECRET}")
    error.reason = reason
    return aiohttp.ClientConnectorSSLError(KEY, error)


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def response(cause: BaseException) -> BaseException:
    info = aiohttp.RequestInfo(None, "GET", None, None)  # type: ignore[arg-type]
    return caused(aiohttp.ClientResponseError(info, (), status=400, message=SECRET), cause)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, SECRET), "connection refused"),
        (EndlessAnswer(SECRET), "answer with headers, trailers or chunks without end"),
        (connector(OSError(errno.ECONNREFUSED, SECRET)), "connection refused"),
        (connector(OSError(errno.EHOSTUNREACH, SECRET)), "no route to host"),
        (connector(OSError(errno.ENETUNREACH, SECRET)), "network unreachable"),
        (connector(OSError(errno.ETIMEDOUT, SECRET)), "timed out while connecting"),
        (connector(OSError(errno.EMFILE, SECRET)), "this process has too many open files"),
        (connector(OSError(errno.EADDRNOTAVAIL, SECRET)), "this machine has no local port left"),
        (connector(OSError(errno.EACCES, SECRET)), "permission denied"),
        (
            connector(OSError(f"Multiple exceptions: [Errno 111] {SECRET}, [Errno 101] x, [Errno 111] y")),
            "connection refused, network unreachable",
        ),
        (connector(socket.gaierror(socket.EAI_NONAME, SECRET), aiohttp.ClientConnectorDNSError), "name not found"),
        (connector(socket.gaierror(socket.EAI_NODATA, SECRET)), "name not found"),
        (connector(socket.gaierror(socket.EAI_AGAIN, SECRET)), "name not found (no answer from the name server)"),
        (connector(socket.gaierror(socket.EAI_FAIL, SECRET)), "name lookup failed"),
        (certificate(62), "certificate: hostname mismatch"),
        (certificate(64), "certificate: hostname mismatch"),
        (certificate(10), "certificate: expired"),
        (certificate(9), "certificate: not yet valid"),
        (certificate(18), "certificate: not trusted"),
        (certificate(20), "certificate: not trusted"),
        (aiohttp.ServerFingerprintMismatch(b"a", b"b", SECRET, 443), "certificate: not trusted"),
        (tls("WRONG_VERSION_NUMBER"), "no TLS on this port (http instead of https?)"),
        (tls("TLSV1_ALERT_PROTOCOL_VERSION"), "TLS: tlsv1 alert protocol version"),
        (connector(ConnectionResetError(errno.ECONNRESET, SECRET)), "connection reset"),
        (aiohttp.ClientOSError(errno.ECONNRESET, SECRET), "connection reset"),
        (aiohttp.ClientConnectionResetError(SECRET), "connection reset"),
        (ConnectionAbortedError(SECRET), "connection aborted"),
        (BrokenPipeError(errno.EPIPE, SECRET), "connection closed before the answer"),
        (aiohttp.ServerDisconnectedError(SECRET), "connection closed before the answer"),
        (caused(aiohttp.ConnectionTimeoutError(SECRET), TimeoutError()), "timed out while connecting"),
        (aiohttp.SocketTimeoutError(SECRET), "timed out"),
        (TimeoutError(SECRET), "timed out"),
        (aiohttp.ClientPayloadError(SECRET), "answer cut short"),
        (caused(aiohttp.ClientPayloadError(SECRET), TransferEncodingError(SECRET)), "answer cut short"),
        (caused(aiohttp.ClientPayloadError(SECRET), ConnectionResetError(104, SECRET)), "connection reset"),
        (response(BadStatusLine(SECRET)), "answer is not HTTP"),
        (response(LineTooLong(SECRET)), "answer headers too long"),
        (aiohttp.InvalidURL(SECRET), "invalid address"),
        (RuntimeError(SECRET), "unknown fault (RuntimeError)"),
    ],
)
def test_every_fault_has_its_words(fault: BaseException, words: str) -> None:
    assert fault_words(fault) == words


def test_words_are_short_whatever_the_exception() -> None:
    many = OSError("Multiple exceptions: " + ", ".join(f"[Errno {number}] x" for number in range(1, 40)))
    long_name = type("Fault" * 60, (Exception,), {})

    assert len(fault_words(connector(many))) == WORDS_MOST
    assert len(fault_words(long_name(SECRET))) == WORDS_MOST


def test_exceptions_that_cause_each_other_end() -> None:
    first, second = RuntimeError(SECRET), ConnectionRefusedError(errno.ECONNREFUSED, SECRET)
    first.__cause__, second.__cause__ = second, first

    assert fault_words(first) == "connection refused"


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@asynccontextmanager
async def _listening(handle: Handler, **options: Any) -> AsyncIterator[int]:
    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handle(reader, writer)
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0, **options)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _fault(url: str, **options: Any) -> BaseException:
    async with aiohttp.ClientSession() as session:
        with pytest.raises((aiohttp.ClientError, OSError)) as caught:
            async with session.get(url, **options) as answer:
                await answer.read()
    return caught.value


async def _hang_up(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def _speak_no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")


async def _cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")


async def _speak_plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize(
    ("scheme", "handle", "words"),
    [
        ("http", _hang_up, "connection closed before the answer"),
        ("http", _speak_no_http, "answer is not HTTP"),
        ("http", _cut, "answer cut short"),
        ("https", _speak_plain, "no TLS on this port (http instead of https?)"),
    ],
)
def test_faults_of_real_connections_have_these_words(scheme: str, handle: Handler, words: str) -> None:
    async def run() -> str:
        async with _listening(handle) as port:
            return fault_words(await _fault(f"{scheme}://127.0.0.1:{port}/"))

    assert asyncio.run(run()) == words


def test_a_real_refusal_a_real_lookup_and_a_real_timeout_have_these_words() -> None:
    async def run() -> list[str]:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            refused = await _fault(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        never = asyncio.Event()
        async with _listening(lambda _reader, _writer: never.wait()) as port:
            silent = await _fault(f"http://127.0.0.1:{port}/", timeout=aiohttp.ClientTimeout(sock_read=0.05))
            never.set()
        unnamed = await _fault("http://no-such-host.invalid/")
        return [fault_words(each) for each in (refused, silent, unnamed)]

    refused, silent, unnamed = asyncio.run(run())

    assert (refused, silent) == ("connection refused", "timed out")
    assert unnamed.startswith("name not found")


def test_real_certificates_have_these_words(tmp_path: Path) -> None:
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    command = [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=other"]
    files = ["-keyout", str(key), "-out", str(certificate), "-addext", "subjectAltName=DNS:other.example"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    own, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context(cafile=certificate)
    own.load_cert_chain(certificate, key)

    async def run() -> list[str]:
        async with _listening(_hang_up, ssl=own) as port:
            urls = [f"https://{host}:{port}/" for host in ("localhost", "127.0.0.1")]
            return [fault_words(await _fault(url, ssl=given)) for url in urls for given in (True, trusting)]

    assert asyncio.run(run()) == 2 * ["certificate: not trusted", "certificate: hostname mismatch"]


def test_a_group_shows_its_first_fault() -> None:
    group = ExceptionGroup(SECRET, [ConnectionResetError(errno.ECONNRESET, SECRET), ValueError(SECRET)])

    assert fault_words(group) == "connection reset"
