"""Every kind of transport fault has its description, without any part of an exception's own text."""

import asyncio
import errno
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from gateway.upstream.fault_words import WORDS_MOST, fault_words
from gateway.upstream.http.client import HttpClient
from gateway.upstream.http.faults import (
    BodyBroken,
    ConnectTimeout,
    Disconnected,
    EndlessAnswer,
    HeadTooLarge,
    HttpFault,
    NotConnected,
    NotHttp,
    ProxyRefused,
)
from tests.support.http_servers import CONNECT_S, Handler, fetched, listening
from tests.support.programs import program

SECRET = "sk-secret-0123456789"


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def connector(error: OSError) -> BaseException:
    return caused(NotConnected(SECRET), error)


def certificate(verify_code: int) -> BaseException:
    error = ssl.SSLCertVerificationError(1, f"certificate verify failed: {SECRET}")
    error.verify_code, error.verify_message = verify_code, SECRET
    return connector(error)


def tls(reason: str) -> BaseException:
    error = ssl.SSLError(1, f"[SSL: {reason}] {SECRET}")
    error.reason = reason
    return connector(error)


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
        (connector(socket.gaierror(socket.EAI_NONAME, SECRET)), "name not found"),
        (connector(socket.gaierror(socket.EAI_NODATA, SECRET)), "name not found"),
        (connector(socket.gaierror(socket.EAI_AGAIN, SECRET)), "name not found (no answer from the name server)"),
        (connector(socket.gaierror(socket.EAI_FAIL, SECRET)), "name lookup failed"),
        (certificate(62), "certificate: hostname mismatch"),
        (certificate(64), "certificate: hostname mismatch"),
        (certificate(10), "certificate: expired"),
        (certificate(9), "certificate: not yet valid"),
        (certificate(18), "certificate: not trusted"),
        (certificate(20), "certificate: not trusted"),
        (tls("WRONG_VERSION_NUMBER"), "no TLS on this port (http instead of https?)"),
        (tls("TLSV1_ALERT_PROTOCOL_VERSION"), "TLS: tlsv1 alert protocol version"),
        (connector(ConnectionResetError(errno.ECONNRESET, SECRET)), "connection reset"),
        (caused(Disconnected(), ConnectionResetError(errno.ECONNRESET, SECRET)), "connection reset"),
        (ConnectionAbortedError(SECRET), "connection aborted"),
        (BrokenPipeError(errno.EPIPE, SECRET), "connection closed before the answer"),
        (Disconnected(SECRET), "connection closed before the answer"),
        (caused(ConnectTimeout(SECRET), TimeoutError()), "timed out while connecting"),
        (TimeoutError(SECRET), "timed out"),
        (BodyBroken(SECRET), "answer cut short"),
        (caused(BodyBroken(SECRET), ConnectionResetError(104, SECRET)), "connection reset"),
        (NotHttp(SECRET), "answer is not HTTP"),
        (HeadTooLarge(SECRET), "answer headers too long"),
        (ProxyRefused(407), "the proxy refused to connect (407)"),
        (ProxyRefused(0), "the proxy refused to connect (no HTTP)"),
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


async def _fault(url: str, tls: ssl.SSLContext | None = None, most_s: float = CONNECT_S) -> BaseException:
    async with HttpClient(tls=tls) as http:
        with pytest.raises((HttpFault, OSError)) as caught:
            async with asyncio.timeout(most_s):
                await fetched(http, url)
    return caught.value


async def _keep_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


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
        async with listening(handle) as port:
            return fault_words(await _fault(f"{scheme}://127.0.0.1:{port}/"))

    assert asyncio.run(run()) == words


def test_a_real_refusal_a_real_lookup_and_a_real_timeout_have_these_words() -> None:
    async def run() -> list[str]:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            refused = await _fault(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        async with listening(_keep_silent) as port:
            silent = await _fault(f"http://127.0.0.1:{port}/", most_s=0.05)
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
        async with listening(_hang_up, ssl=own) as port:
            urls = [f"https://{host}:{port}/" for host in ("localhost", "127.0.0.1")]
            return [fault_words(await _fault(url, given)) for url in urls for given in (None, trusting)]

    assert asyncio.run(run()) == 2 * ["certificate: not trusted", "certificate: hostname mismatch"]


def test_a_group_shows_its_first_fault() -> None:
    group = ExceptionGroup(SECRET, [ConnectionResetError(errno.ECONNRESET, SECRET), ValueError(SECRET)])

    assert fault_words(group) == "connection reset"
