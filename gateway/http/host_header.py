"""Parses a Host header strictly: one name or address with an optional port. Anything that two programs could read
differently is refused: lists, user names, paths, blanks.
"""

import ipaddress
import re
from functools import lru_cache
from typing import NamedTuple

Headers = list[tuple[bytes, bytes]]  # of a request, names in lower case

PORT_MOST = 65_535
# RFC 3986, section 3.2.2: a registered name without the comma, as a list of hosts is refused, or an IPv6 address with
# or without a zone. The port may be empty.
_NAME = rb"(?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2}){1,255}"
_HOST = re.compile(rb"(?:\[([0-9A-Fa-f:.]{2,45})(?:%25[A-Za-z0-9._~-]{1,64})?\]|(" + _NAME + rb"))(?::([0-9]{0,5}))?")


class Host(NamedTuple):
    """A parsed Host header. ``name``: in lower case, an IPv6 address without its brackets and zone."""

    name: str
    port: int | None


@lru_cache(maxsize=256)
def parse_host(value: bytes) -> Host | None:
    """Returns None for anything that is not exactly one host."""
    match = _HOST.fullmatch(value)
    if match is None:
        return None
    address, name, digits = (part and part.decode("ascii").lower() for part in match.groups())
    port = int(digits) if digits else None
    if port is not None and port > PORT_MOST:
        return None
    if address:
        return Host(address, port) if _is_ipv6(address) else None
    return Host(name, port) if name else None


@lru_cache(maxsize=256)
def is_this_machine(host: Host) -> bool:
    """Returns whether the name always means this machine, whatever a name server returns."""
    if host.name == "localhost" or host.name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.name).is_loopback
    except ValueError:
        return False


def _is_ipv6(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 6
    except ValueError:
        return False
