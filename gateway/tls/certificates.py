"""Reads the PEM files of `server.tls` into an SSL context and reports their faults by the name of the setting. The
validity of certificates is read from their DER, because the ssl module shows it only for peers.
"""

import contextlib
import os
import re
import ssl
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gateway.configuration.settings import ConfigurationError
from gateway.configuration.tls import TlsSettings
from gateway.configuration.yaml_source import Problem
from gateway.tls.alerts import HandshakeContext

SOON_S = 14 * 86_400  # certbot and cert-manager renew 30 days before the end: with half of it left they have failed
ALPN = ("h2", "http/1.1")
_BYTES_MOST = 4 << 20  # a bundle of all public authorities takes 250 KB
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_CERTIFICATE, _KEY, _CLIENT_CA = "server.tls.certificate", "server.tls.key", "server.tls.client_ca"
_UTC_TIME, _VERSION_TAG = 0x17, 0xA0


class Identity(msgspec.Struct, frozen=True):
    """A certificate chain with its key."""

    context: ssl.SSLContext  # for handshakes
    expires_at_s: float  # when the first certificate of the chain expires, since 1970


class _Validity(msgspec.Struct, frozen=True):
    """The validity of a certificate, in seconds since 1970."""

    begins_at_s: float
    ends_at_s: float


def load(tls: TlsSettings) -> Identity:
    """Loads the files of `server.tls`, expired certificates included: some clients still accept them. Raises
    ConfigurationError.
    """
    problems: list[Problem] = []
    chain = _validities(_CERTIFICATE, tls.certificate, problems)
    key = _text(_KEY, tls.key, problems)
    authorities = _validities(_CLIENT_CA, tls.client_ca, problems) if tls.client_ca else []
    if problems:
        raise ConfigurationError(problems)
    context = _context(tls, "ENCRYPTED" in key)
    if authorities:
        _demand_clients(context, str(tls.client_ca))
    return Identity(context, min(certificate.ends_at_s for certificate in chain))


def validity_problems(tls: TlsSettings, now_s: float) -> Iterator[Problem]:
    """Yields the certificates that are not valid now. Files that cannot be loaded are passed over."""
    for path, file in ((_CERTIFICATE, tls.certificate), (_CLIENT_CA, tls.client_ca)):
        validities = _validities(path, file, []) if file else []
        # One expired intermediate breaks the chain; one expired authority of several only refuses its own clients.
        is_current = all if path == _CERTIFICATE else any
        if validities and not is_current(validity.ends_at_s > now_s for validity in validities):
            yield Problem(path, f"{file} expired on {_day(min(validity.ends_at_s for validity in validities))}")
        elif validities and not is_current(validity.begins_at_s <= now_s for validity in validities):
            yield Problem(
                path, f"{file} is not valid before {_day(max(validity.begins_at_s for validity in validities))}"
            )


def warnings(tls: TlsSettings, now_s: float) -> Iterator[str]:
    """Yields certificates that expire soon, and a key that other users can read."""
    ends_at_s = min((validity.ends_at_s for validity in _validities(_CERTIFICATE, tls.certificate, [])), default=0.0)
    if now_s < ends_at_s < now_s + SOON_S:
        days = int((ends_at_s - now_s) // 86_400)
        yield f"{_CERTIFICATE}: {tls.certificate} expires in {days} days, on {_day(ends_at_s)}"
    with contextlib.suppress(OSError):
        if os.stat(tls.key).st_mode & stat.S_IROTH:
            yield f"{_KEY}: {tls.key} can be read by every user of this machine"


def check(tls: TlsSettings) -> list[str]:
    """Returns warnings. Raises ConfigurationError, also for a certificate that has expired."""
    load(tls)
    now_s = time.time()
    problems = list(validity_problems(tls, now_s))
    if problems:
        raise ConfigurationError(problems)
    return list(warnings(tls, now_s))


def _context(tls: TlsSettings, is_encrypted: bool) -> ssl.SSLContext:
    """Returns the context for handshakes. Raises ConfigurationError."""
    context = HandshakeContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(list(ALPN))
    try:
        # A passphrase is always given: OpenSSL would ask the terminal for one.
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: str(tls.key_passphrase))
    except ssl.SSLError as error:
        raise ConfigurationError([_mismatch(error, tls, is_encrypted)]) from None
    except OSError as error:
        raise ConfigurationError([Problem(_KEY, f"{tls.key} cannot be read: {error.strerror}")]) from None
    return context


def _mismatch(error: ssl.SSLError, tls: TlsSettings, is_encrypted: bool) -> Problem:
    reason = (error.reason or "").replace("_", " ").lower()
    if error.reason == "KEY_VALUES_MISMATCH":
        return Problem(_KEY, f"{tls.key} does not belong to the certificate in {tls.certificate}")
    if "TOO_SMALL" in (error.reason or "") or "TOO_WEAK" in (error.reason or ""):
        return Problem(_CERTIFICATE, f"{tls.certificate} is too weak: {reason}")
    if is_encrypted and not tls.key_passphrase:
        return Problem(_KEY, f"{tls.key} is encrypted. Set server.tls.key_passphrase.")
    if is_encrypted:
        return Problem("server.tls.key_passphrase", f"does not decrypt {tls.key}")
    return Problem(_KEY, f"{tls.key} holds no private key in PEM form")


def _demand_clients(context: ssl.SSLContext, client_ca: str) -> None:
    """Demands certificates of clients. Raises ConfigurationError."""
    try:
        context.load_verify_locations(cafile=client_ca)
    except (ssl.SSLError, OSError):
        raise ConfigurationError([Problem(_CLIENT_CA, f"{client_ca} holds no usable certificate")]) from None
    context.verify_mode = ssl.CERT_REQUIRED


def _text(path: str, file: str, problems: list[Problem]) -> str:
    try:
        with Path(file).open("rb") as opened:
            return opened.read(_BYTES_MOST).decode("latin-1")
    except OSError as error:
        problems.append(Problem(path, f"{file} cannot be read: {error.strerror}"))
        return ""


def _validities(path: str, file: str, problems: list[Problem]) -> list[_Validity]:
    """Returns the validity of each certificate in a file and appends problems."""
    known = len(problems)
    text = _text(path, file, problems)
    try:
        validities = [_validity(ssl.PEM_cert_to_DER_cert(block)) for block in _BLOCK.findall(text)]
    except (ValueError, IndexError):
        problems.append(Problem(path, f"{file} holds a certificate that is damaged"))
        return []
    if not validities and len(problems) == known:
        problems.append(Problem(path, f"{file} holds no certificate in PEM form"))
    return validities


def _validity(der: bytes) -> _Validity:
    """Reads the validity of a certificate (RFC 5280, section 4.1): Certificate { TBSCertificate { [0] version, serial,
    algorithm, issuer, validity ... } }. Raises ValueError, IndexError.
    """
    at, _ = _content(der, _content(der, 0)[0])
    if der[at] == _VERSION_TAG:
        at = _content(der, at)[1]
    for _ in ("serial", "algorithm", "issuer"):
        at = _content(der, at)[1]
    begins, _ = _content(der, at)
    return _Validity(_time(der, begins), _time(der, _content(der, begins)[1]))


def _content(der: bytes, at: int) -> tuple[int, int]:
    """Returns where the content of the element at this offset begins and ends."""
    length, begins = der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, begins = int.from_bytes(der[begins : begins + size], "big"), begins + size
    return begins, begins + length


def _time(der: bytes, at: int) -> float:
    begins, ends = _content(der, at)
    text = der[begins:ends].decode("ascii")
    if der[at] == _UTC_TIME:
        text = ("19" if text >= "5" else "20") + text  # RFC 5280: two digits from 50 are of the last century
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d")
