"""Faults of the files of `server.tls`, by the name of the setting."""

import ssl
import time
from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.configuration.settings import ConfigurationError
from gateway.configuration.tls import TlsSettings
from gateway.tls import certificates
from tests.support.certificates import PASSPHRASE, Authority, new_key, run
from tests.support.tls_server import Identity, identity

__all__ = ["identity"]

DAY_S = 86_400


def problems(**fields: object) -> list[str]:
    """Paths of what is wrong; none when the files are in order."""
    try:
        certificates.check(TlsSettings(**{name: str(value) for name, value in fields.items()}))  # type: ignore[arg-type]
    except ConfigurationError as error:
        return [problem.path.removeprefix("server.tls.") for problem in error.problems]
    return []


@pytest.fixture(scope="session")
def authority(identity: Identity) -> Authority:
    return identity.authority


class TestProblems:
    def test_files_that_fit_are_in_order(self, identity: Identity, authority: Authority) -> None:
        found = problems(certificate=identity.certificate, key=identity.key, client_ca=authority.certificate)

        assert found == []

    def test_every_file_that_is_missing_is_named(self, tmp_path: Path) -> None:
        absent = tmp_path / "absent"

        assert problems(certificate=absent, key=absent, client_ca=absent) == ["certificate", "key", "client_ca"]

    def test_key_of_another_certificate_is_refused(self, identity: Identity, tmp_path: Path) -> None:
        assert problems(certificate=identity.certificate, key=new_key(tmp_path / "other.key")) == ["key"]

    def test_files_that_are_exchanged_are_refused(self, identity: Identity) -> None:
        assert problems(certificate=identity.key, key=identity.certificate) == ["certificate"]

    def test_file_without_a_key_is_refused(self, identity: Identity) -> None:
        assert problems(certificate=identity.certificate, key=identity.certificate) == ["key"]

    def test_file_without_an_authority_is_refused(self, identity: Identity) -> None:
        found = problems(certificate=identity.certificate, key=identity.key, client_ca=identity.key)

        assert found == ["client_ca"]

    def test_damaged_certificate_is_refused(self, identity: Identity, tmp_path: Path) -> None:
        damaged = tmp_path / "damaged.pem"
        damaged.write_text("-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n")

        assert problems(certificate=damaged, key=identity.key) == ["certificate"]

    def test_weak_certificate_is_refused(self, tmp_path: Path) -> None:
        key, certificate = tmp_path / "weak.key", tmp_path / "weak.pem"
        run("req", "-x509", "-newkey", "rsa:512", "-nodes", "-subj", "/CN=weak", "-keyout", key, "-out", certificate)

        assert problems(certificate=certificate, key=key) == ["certificate"]

    def test_key_that_cannot_be_read_is_named(self, identity: Identity, tmp_path: Path) -> None:
        """A folder instead of a file: even root cannot read it."""
        key = tmp_path / "closed.key"
        key.mkdir()

        assert problems(certificate=identity.certificate, key=key) == ["key"]

    def test_expired_certificate_is_refused_by_check_alone(self, authority: Authority) -> None:
        """A gateway still starts with it: some clients accept it, and a stopped gateway serves none."""
        certificate, key = authority.issue("expired", days=-3)

        assert problems(certificate=certificate, key=key) == ["certificate"]
        assert certificates.load(TlsSettings(certificate=str(certificate), key=str(key))).expires_at_s < time.time()

    def test_expired_intermediate_is_refused(self, identity: Identity, authority: Authority, tmp_path: Path) -> None:
        expired, _ = authority.issue("intermediate", days=-3)
        chain = tmp_path / "chain.pem"
        chain.write_text(identity.certificate.read_text() + expired.read_text())

        assert problems(certificate=chain, key=identity.key) == ["certificate"]


class TestPassphrase:
    @pytest.fixture
    def encrypted(self, authority: Authority) -> dict[str, object]:
        certificate, key = authority.issue("encrypted", is_encrypted=True)
        return {"certificate": certificate, "key": key}

    def test_right_one_decrypts(self, encrypted: dict[str, object]) -> None:
        assert problems(**encrypted, key_passphrase=PASSPHRASE) == []

    def test_wrong_one_is_named(self, encrypted: dict[str, object]) -> None:
        assert problems(**encrypted, key_passphrase="wrong") == ["key_passphrase"]

    def test_missing_passphrase_is_not_requested_from_a_terminal(self, encrypted: dict[str, object]) -> None:
        assert problems(**encrypted) == ["key"]


class TestWarnings:
    @pytest.mark.parametrize(("days", "count"), [(13, 1), (15, 0)])
    def test_certificate_that_ends_within_two_weeks(self, authority: Authority, days: int, count: int) -> None:
        certificate, key = authority.issue(f"ends-in-{days}", days=days)
        found = certificates.check(TlsSettings(certificate=str(certificate), key=str(key)))

        assert len(found) == count
        assert all(f"expires in {days - 1} days" in line for line in found)

    def test_key_that_everybody_can_read(self, identity: Identity, tmp_path: Path) -> None:
        key = tmp_path / "open.key"
        key.write_bytes(identity.key.read_bytes())
        key.chmod(0o644)
        (found,) = certificates.check(TlsSettings(certificate=str(identity.certificate), key=str(key)))

        assert found.startswith("server.tls.key: ")


def test_end_of_a_certificate_is_that_of_openssl(identity: Identity) -> None:
    shown = run("x509", "-in", identity.certificate, "-noout", "-enddate").strip().removeprefix("notAfter=")

    assert certificates.load(identity.settings()).expires_at_s == ssl.cert_time_to_seconds(shown)


def test_end_beyond_2050_is_read(tmp_path: Path) -> None:
    """RFC 5280 writes such years with four digits."""
    key, certificate = new_key(tmp_path / "long.key"), tmp_path / "long.pem"
    run("req", "-x509", "-new", "-key", key, "-days", 36_500, "-subj", "/CN=long", "-out", certificate)
    expires_at_s = certificates.load(TlsSettings(certificate=str(certificate), key=str(key))).expires_at_s

    assert abs(expires_at_s - time.time() - 36_500 * DAY_S) < DAY_S


def test_tls_before_1_2_is_not_spoken(identity: Identity) -> None:
    context = certificates.load(identity.settings()).context

    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert not any("RC4" in cipher["name"] or "3DES" in cipher["name"] for cipher in context.get_ciphers())


@pytest.mark.parametrize(("is_key_missing", "code"), [(False, 0), (True, 1)])
def test_check_command_reports_by_the_path_of_the_setting(
    identity: Identity, tmp_path: Path, capsys: pytest.CaptureFixture[str], is_key_missing: bool, code: int
) -> None:
    key = tmp_path / "absent.key" if is_key_missing else identity.key
    file = tmp_path / "pllm.yaml"
    file.write_text(
        f"server: {{tls: {{certificate: '{identity.certificate}', key: '{key}'}}}}\n"
        "model_list: [{id: m-1, model_name: m}]\n"
    )

    assert main(["check", str(file)]) == code
    assert ("server.tls.key: " in capsys.readouterr().err) is is_key_missing
