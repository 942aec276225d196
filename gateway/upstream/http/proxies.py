"""The proxies that the environment names: `HTTP_PROXY`, `HTTPS_PROXY`, and `NO_PROXY` for exceptions, in capitals or
small letters.

A call to this machine itself takes no proxy, as in Go's programs: local providers need no `NO_PROXY`.
"""

import ipaddress
import os
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import msgspec

from gateway.configuration.settings import ConfigurationError
from gateway.configuration.yaml_source import Problem
from gateway.upstream.http.request import Origin

_PORT = 80


class Proxy(msgspec.Struct, frozen=True):
    """A proxy that is reached over plain TCP."""

    host: str
    port: int
    authorization: bytes = b""  # the line of its header, empty without credentials

    @property
    def origin(self) -> Origin:
        return Origin(self.host, self.port)


class Proxies:
    """Finds the proxy of a call. ``named``: addresses by scheme, and exceptions under `no`, in place of the
    environment's. Raises ConfigurationError for an address that is not an http proxy's.
    """

    def __init__(self, named: Mapping[str, str] | None = None) -> None:
        named = _named() if named is None else named
        self._proxies = {scheme: proxy(scheme, named[scheme]) for scheme in ("http", "https") if named.get(scheme)}
        self._excepted = [entry.strip().lower() for entry in named.get("no", "").split(",") if entry.strip()]

    def of(self, origin: Origin) -> Proxy | None:
        """Returns the proxy on the way to a server, None without one."""
        named = self._proxies.get("https" if origin.is_tls else "http")
        if named is None or _is_here(origin.host) or any(_fits(origin, entry) for entry in self._excepted):
            return None
        return named


def _named() -> Mapping[str, str]:
    """Returns what the environment names. Small letters win, as in curl."""
    names = ("http", "https", "no")
    return {name: os.environ.get(f"{name}_proxy") or os.environ.get(f"{name}_PROXY".upper(), "") for name in names}


def proxy(scheme: str, address: str) -> Proxy:
    """Returns the proxy at an address such as `http://user:password@proxy:3128`, whose `http://` may be left out.
    Raises ConfigurationError, without showing the address: it may hold a password.
    """
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigurationError(
            [Problem(f"{scheme.upper()}_PROXY", "must be an http proxy, such as http://proxy:3128")]
        )
    authorization = b""
    if parts.username is not None:
        words = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = b"proxy-authorization: Basic " + b64encode(words) + b"\r\n"
    return Proxy(parts.hostname, parts.port or _PORT, authorization)


def _fits(origin: Origin, entry: str) -> bool:
    """Returns whether an entry of `NO_PROXY` names the server: `*`, a network, or a name with those below it; a name or
    an address may have a port.
    """
    try:
        return ipaddress.ip_address(origin.host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        name = entry.removeprefix("*").removeprefix(".")
        places = (origin.host, origin.authority, f"{origin.host}:{origin.port}")
        return entry == "*" or any(place == name or place.endswith("." + name) for place in places if name)


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
