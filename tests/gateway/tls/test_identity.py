"""Handshakes and the files behind them: who gets in, who is refused how, and what follows a renewal."""

import contextlib
import logging
import os
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.configuration.tls import TlsSettings
from gateway.http.tls_counts import counts
from tests.loadtest.process import wait_until
from tests.support.certificates import Authority
from tests.support.h2_wire import client_context
from tests.support.tls_server import Echo, Identity, TlsServer, echoing, identity
from tests.support.wire import ask, request_bytes

__all__ = ["identity"]

GET = request_bytes("GET", "/x")


@pytest.fixture
def server(identity: Identity) -> Iterator[TlsServer]:
    with echoing(identity) as (running, _):
        yield running


def answer_over_tls(address: tuple[str, int], context: ssl.SSLContext, request: bytes = GET) -> bytes:
    """Empty when the server closes without one."""
    with connected_to(address, context) as connected:
        connected.sendall(request)
        return connected.recv(65_536)


def connected_to(address: tuple[str, int], context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(address, timeout=10)
    try:
        return context.wrap_socket(plain, server_hostname="localhost")
    except (ssl.SSLError, OSError):
        plain.close()
        raise


def serial(address: tuple[str, int], authority: Path) -> str:
    """Returns the serial number of the certificate that a new connection gets."""
    with connected_to(address, client_context(authority)) as connected:
        certificate = connected.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])


class TestProtocols:
    @pytest.mark.parametrize("protocols", [("http/1.1",), ("unheard-of", "http/1.1")])
    def test_http1_is_served_to_clients_that_choose_it(
        self, server: TlsServer, identity: Identity, protocols: tuple[str, ...]
    ) -> None:
        context = client_context(identity.authority.certificate, protocols)

        assert answer_over_tls(server.address, context).startswith(b"HTTP/1.1 200 OK\r\n")

    def test_http1_is_served_to_clients_that_choose_nothing(self, server: TlsServer, identity: Identity) -> None:
        context = ssl.create_default_context(cafile=str(identity.authority.certificate))

        assert answer_over_tls(server.address, context).startswith(b"HTTP/1.1 200 OK\r\n")

    def test_scheme_of_http1_is_https(self, identity: Identity) -> None:
        with echoing(identity) as (server, app):
            answer_over_tls(server.address, client_context(identity.authority.certificate, ("http/1.1",)))

            assert [(scope["scheme"], scope["http_version"]) for scope in app.scopes] == [("https", "1.1")]

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_both_versions_are_spoken(self, server: TlsServer, identity: Identity, version: ssl.TLSVersion) -> None:
        context = client_context(identity.authority.certificate, ("http/1.1",))
        context.minimum_version = context.maximum_version = version

        assert answer_over_tls(server.address, context).startswith(b"HTTP/1.1 200 OK\r\n")


class TestRefusals:
    def test_client_of_an_older_version_learns_why(self, server: TlsServer, identity: Identity) -> None:
        hello = bytes.fromhex("16030100330100002f0301" + "00" * 32 + "000002002f01000004") + b"\x00\x17\x00\x00"
        with socket.create_connection(server.address, timeout=10) as client:
            client.sendall(hello)

            assert client.recv(100) == bytes.fromhex("1503010002") + b"\x02\x46"  # fatal, protocol_version

    def test_plain_request_gets_a_hint(self, server: TlsServer) -> None:
        before = counts.failed["not_tls"]
        answer = ask(server.address, GET)

        assert answer.status == 400
        assert answer.error["message"] == "This port speaks TLS. Use an https:// address."
        assert counts.failed["not_tls"] == before + 1

    def test_large_plain_request_gets_the_hint_as_well(self, server: TlsServer) -> None:
        with socket.create_connection(server.address, timeout=10) as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(request_bytes("POST", "/x", bytes(500_000)))

            assert client.recv(65_536).startswith(b"HTTP/1.1 400 ")

    @pytest.mark.parametrize("sent", [b"\x16\x03\x01\x00\x05hello", b"\x16" * 100, b"\x16\x03\x01"])
    def test_garbage_ends_the_connection_with_a_count_and_no_traceback(
        self, server: TlsServer, caplog: pytest.LogCaptureFixture, sent: bytes
    ) -> None:
        before = counts.failed.total()
        with socket.create_connection(server.address, timeout=10) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                client.recv(100)
        wait_until(lambda: counts.failed.total() == before + 1)

        assert "Traceback" not in caplog.text

    def test_garbage_after_the_handshake_leaves_no_trace(self, server: TlsServer, identity: Identity) -> None:
        """`echoing` asserts that the event loop had nothing to report."""
        connected = connected_to(server.address, client_context(identity.authority.certificate))
        raw = socket.socket(fileno=connected.detach())
        raw.settimeout(10)
        raw.sendall(b"\x17\x03\x03\x00\x10" + bytes(16))
        with contextlib.suppress(ConnectionError):
            while raw.recv(65_536):
                pass
        raw.close()

        assert answer_over_tls(server.address, client_context(identity.authority.certificate, ("http/1.1",)))

    def test_lines_are_bounded_and_counted(self, server: TlsServer, caplog: pytest.LogCaptureFixture) -> None:
        before = counts.failed["not_tls"]
        with caplog.at_level(logging.WARNING, "pllm.tls"):
            for _ in range(20):
                ask(server.address, GET)

        assert counts.failed["not_tls"] == before + 20
        assert 1 <= caplog.text.count("no TLS connection") <= 5


class TestClientCertificates:
    @pytest.fixture
    def strict(self, identity: Identity) -> Iterator[TlsServer]:
        app = Echo()
        with TlsServer(app, identity.settings(identity.authority.certificate)) as server:
            yield server
        assert server.faults == []

    def test_certificate_of_the_authority_gets_in(self, strict: TlsServer, identity: Identity) -> None:
        context = client_context(identity.authority.certificate, ("http/1.1",))
        context.load_cert_chain(*identity.authority.issue("client"))

        assert answer_over_tls(strict.address, context).startswith(b"HTTP/1.1 200 OK\r\n")

    def test_client_without_a_certificate_is_refused(self, strict: TlsServer, identity: Identity) -> None:
        before = counts.failed["no_certificate"]

        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            answer_over_tls(strict.address, client_context(identity.authority.certificate))
        wait_until(lambda: counts.failed["no_certificate"] == before + 1)

    @pytest.mark.parametrize("is_expired", [False, True])
    def test_other_certificate_is_refused(
        self, strict: TlsServer, identity: Identity, tmp_path: Path, is_expired: bool
    ) -> None:
        before = counts.failed["certificate"]
        issuer = identity.authority if is_expired else Authority(tmp_path, "stranger")
        context = client_context(identity.authority.certificate)
        context.load_cert_chain(*issuer.issue("refused", days=-1 if is_expired else 1))

        with pytest.raises(ssl.SSLError, match="CERTIFICATE_EXPIRED" if is_expired else "UNKNOWN_CA"):
            answer_over_tls(strict.address, context)
        wait_until(lambda: counts.failed["certificate"] == before + 1)


class Renewed:
    """A server whose files are replaced while it runs."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.folder, self.authority = folder, identity.authority
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        shutil.copy(identity.certificate, self.certificate)
        shutil.copy(identity.key, self.key)
        self.server = TlsServer(Echo(), TlsSettings(certificate=str(self.certificate), key=str(self.key)))

    def serial(self) -> str:
        return serial(self.server.address, self.authority.certificate)


@pytest.fixture
def renewed(tmp_path: Path, identity: Identity) -> Iterator[Renewed]:
    made = Renewed(tmp_path, identity)
    with made.server:
        yield made
    assert made.server.faults == []


class TestReload:
    def test_new_files_are_taken(self, renewed: Renewed) -> None:
        before, applied = renewed.serial(), counts.reloads["applied"]
        certificate, key = renewed.authority.issue("renewed", days=200)
        shutil.copy(key, renewed.key)
        shutil.copy(certificate, renewed.certificate)

        wait_until(lambda: renewed.serial() != before)
        assert counts.reloads["applied"] > applied
        assert counts.expires_at_s > 0

    def test_swapped_links_are_taken(self, tmp_path: Path, identity: Identity) -> None:
        """A Kubernetes secret: `tls.crt` links to `..data/tls.crt`, and `..data` to a directory that is exchanged."""
        for name, issued in (
            ("..first", (identity.certificate, identity.key)),
            ("..second", identity.authority.issue("second")),
        ):
            (tmp_path / name).mkdir()
            shutil.copy(issued[0], tmp_path / name / "tls.crt")
            shutil.copy(issued[1], tmp_path / name / "tls.key")
        (tmp_path / "..data").symlink_to("..first")
        for name in ("tls.crt", "tls.key"):
            (tmp_path / name).symlink_to(f"..data/{name}")
        settings = TlsSettings(certificate=str(tmp_path / "tls.crt"), key=str(tmp_path / "tls.key"))
        with TlsServer(Echo(), settings) as server:
            before = serial(server.address, identity.authority.certificate)
            (tmp_path / "..next").symlink_to("..second")
            os.replace(tmp_path / "..next", tmp_path / "..data")

            wait_until(lambda: serial(server.address, identity.authority.certificate) != before)

    @pytest.mark.parametrize("broken", [b"", b"nonsense", None], ids=["empty", "nonsense", "missing"])
    def test_broken_file_leaves_the_former_certificate(
        self, renewed: Renewed, caplog: pytest.LogCaptureFixture, broken: bytes | None
    ) -> None:
        before, refused = renewed.serial(), counts.reloads["refused"]
        if broken is None:
            renewed.certificate.unlink()
        else:
            renewed.certificate.write_bytes(broken)
        wait_until(lambda: counts.reloads["refused"] == refused + 1)

        assert renewed.serial() == before
        assert "the former certificate stays: server.tls.certificate" in caplog.text

    def test_expired_renewal_leaves_the_former_certificate(self, renewed: Renewed) -> None:
        before, refused = renewed.serial(), counts.reloads["refused"]
        certificate, key = renewed.authority.issue("stale", days=-1)
        shutil.copy(key, renewed.key)
        shutil.copy(certificate, renewed.certificate)
        wait_until(lambda: counts.reloads["refused"] == refused + 1)

        assert renewed.serial() == before

    def test_broken_file_that_is_fixed_is_taken(self, renewed: Renewed) -> None:
        before, refused = renewed.serial(), counts.reloads["refused"]
        certificate, key = renewed.authority.issue("fixed")
        shutil.copy(certificate, renewed.certificate)  # its key is not here yet
        wait_until(lambda: counts.reloads["refused"] == refused + 1)
        shutil.copy(key, renewed.key)

        wait_until(lambda: renewed.serial() != before)

    def test_open_connections_stay(self, renewed: Renewed) -> None:
        context = client_context(renewed.authority.certificate, ("http/1.1",))
        with connected_to(renewed.server.address, context) as connected:
            before = renewed.serial()
            certificate, key = renewed.authority.issue("later")
            shutil.copy(key, renewed.key)
            shutil.copy(certificate, renewed.certificate)
            wait_until(lambda: renewed.serial() != before)
            connected.sendall(GET)

            assert connected.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n")
