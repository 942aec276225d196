"""A short description of a transport fault that an operator understands at once.

The words are fixed texts, the system's names of error numbers and names of types only: an exception's own text may hold
an address, a header or a key.
"""

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator

from gateway.upstream.http.faults import (
    BodyBroken,
    BodyNotDecodable,
    ConnectTimeout,
    Disconnected,
    EndlessAnswer,
    HeadTooLarge,
    NotConnected,
    NotHttp,
    ProxyRefused,
)

WORDS_MOST = 120  # characters
_CHAIN_MOST = 8  # causes of causes

_BY_ERRNO = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.ECONNABORTED: "connection aborted",
    errno.EPIPE: "connection closed before the answer",
    errno.ESHUTDOWN: "connection closed before the answer",
    errno.EHOSTUNREACH: "no route to host",
    errno.EHOSTDOWN: "no route to host",
    errno.ENETUNREACH: "network unreachable",
    errno.ENETDOWN: "network unreachable",
    # Faults of this machine, not of the provider.
    errno.EMFILE: "this process has too many open files",
    errno.ENFILE: "this machine has too many open files",
    errno.EADDRNOTAVAIL: "this machine has no local port left",
    errno.ENOBUFS: "this machine has no network buffers left",
    errno.ENOMEM: "this machine has no memory left",
}
_BY_LOOKUP = {
    socket.EAI_NONAME: "name not found",
    getattr(socket, "EAI_NODATA", socket.EAI_NONAME): "name not found",
    socket.EAI_AGAIN: "name not found (no answer from the name server)",
}
# X509_V_ERR_… of OpenSSL: `openssl verify` documents them.
_BY_VERIFY_CODE = {
    9: "certificate: not yet valid",
    10: "certificate: expired",
    23: "certificate: revoked",
    62: "certificate: hostname mismatch",
    64: "certificate: hostname mismatch",  # the host is an IP address
}
_BY_TLS_REASON = {
    "WRONG_VERSION_NUMBER": "no TLS on this port (http instead of https?)",
    "HTTP_REQUEST": "no TLS on this port (http instead of https?)",
    "PACKET_LENGTH_TOO_LONG": "no TLS on this port (http instead of https?)",
    "RECORD_LAYER_FAILURE": "no TLS on this port (http instead of https?)",
    "UNEXPECTED_EOF_WHILE_READING": "connection closed during the TLS handshake",
}
# The first type that fits an exception of the chain wins, so the most specific stands first.
_SPECIFIC: tuple[tuple[type[BaseException], str], ...] = (
    (ConnectTimeout, "timed out while connecting"),
    (BodyNotDecodable, "answer damaged or cut in its content-encoding"),
    (EndlessAnswer, "answer with headers, trailers or chunks without end"),
    (HeadTooLarge, "answer headers too long"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "connection reset"),
    (ConnectionAbortedError, "connection aborted"),
    (BrokenPipeError, "connection closed before the answer"),
)
# Words for exceptions without a more exact cause.
_GENERAL: tuple[tuple[type[BaseException], str], ...] = (
    (Disconnected, "connection closed before the answer"),
    (TimeoutError, "timed out"),
    (BodyBroken, "answer cut short"),
    (NotHttp, "answer is not HTTP"),
    (EOFError, "connection closed"),
)


def fault_words(error: BaseException) -> str:
    """Returns a description of the fault: at most 120 characters, in lower case except for names, without any part of
    the exception's message.
    """
    chain = list(_chain(error))
    is_connecting = any(isinstance(link, NotConnected) for link in chain)
    for link in chain:
        words = _specific(link, is_connecting)
        if words:
            return words[:WORDS_MOST]
    for kind, words in _GENERAL:
        if any(isinstance(link, kind) for link in chain):
            return words
    return f"unknown fault ({type(error).__name__})"[:WORDS_MOST]


_LASTING = (EndlessAnswer, NotHttp, ssl.SSLError, TimeoutError)
_PASSING = (BodyBroken, Disconnected, NotConnected, OSError)


def may_pass(error: BaseException) -> bool:
    """Returns whether the same call may succeed a moment later, as after a refused, reset or closed connection. A bad
    certificate or a missing name persists, and a request that timed out has waited long enough.
    """
    for link in _chain(error):
        if isinstance(link, _LASTING) or (isinstance(link, socket.gaierror) and link.errno != socket.EAI_AGAIN):
            return False
        if isinstance(link, ProxyRefused) and link.status < 500:
            return False
    return isinstance(error, _PASSING)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields the exception and its causes, outermost first."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _CHAIN_MOST:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            waiting.extend(current.exceptions)
        context = None if current.__suppress_context__ else current.__context__
        waiting.extend(cause for cause in (current.__cause__, context) if cause is not None)


def _specific(error: BaseException, is_connecting: bool) -> str:
    if isinstance(error, ProxyRefused):
        return f"the proxy refused to connect ({error.status or 'no HTTP'})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, "certificate: not trusted")
    if isinstance(error, ssl.SSLError):
        return _tls_words(error.reason)
    if isinstance(error, socket.gaierror):
        return _BY_LOOKUP.get(error.errno or 0, "name lookup failed")
    for kind, words in _SPECIFIC:
        if isinstance(error, kind):
            return words
    if not isinstance(error, OSError):
        return ""
    if error.errno is None:
        return _several(str(error), is_connecting)
    return _errno_words(error.errno, is_connecting)


def _errno_words(number: int, is_connecting: bool) -> str:
    if number == errno.ETIMEDOUT:
        return "timed out while connecting" if is_connecting else "timed out"
    return _BY_ERRNO.get(number) or os.strerror(number).lower()


def _several(text: str, is_connecting: bool) -> str:
    """Describes a connect to several addresses that failed differently, from the error numbers in its text."""
    numbers = dict.fromkeys(int(number) for number in re.findall(r"\[Errno (\d{1,5})\]", text))
    return ", ".join(_errno_words(number, is_connecting) for number in numbers)


def _tls_words(reason: object) -> str:
    """Describes a TLS fault. ``reason``: OpenSSL's name in capitals."""
    if not isinstance(reason, str) or not re.fullmatch(r"[A-Z0-9_]{1,80}", reason):
        return ""
    return _BY_TLS_REASON.get(reason) or "TLS: " + reason.lower().replace("_", " ")
