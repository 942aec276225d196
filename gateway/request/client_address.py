"""The address of a client: that of its connection, or the one that a trusted proxy reports. The header of any other
sender is only a claim.
"""

import ipaddress
from collections.abc import Iterable

from gateway.http.host_header import Headers

HOPS_MOST = 32  # proxies that are considered, from the right
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
IPV6_PREFIX = 64  # bits that a provider gives to one subscriber, who has all addresses below them


class ClientAddress:
    """Finds the address of a client. ``trusted``: addresses and networks of proxies; each appends its own client to
    X-Forwarded-For.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted = [ipaddress.ip_network(each, strict=False) for each in trusted]

    def of(self, client: tuple[str, int] | None, headers: Headers) -> str:
        """Returns the last address, from the right, that is not a trusted proxy's; empty for a unix socket."""
        host = client[0] if client else ""
        if not self._trusted:
            return host[len("::ffff:") :] if host.startswith("::ffff:") and "." in host else host
        peer = _parsed(host)
        if peer is None:
            return host
        lines = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
        hops = [hop.strip() for line in lines for hop in line.rsplit(",", HOPS_MOST)][-HOPS_MOST:]
        while hops and self._is_trusted(peer):
            before = _parsed(hops.pop())
            if before is None:
                break  # no proxy vouches for what stands further left
            peer = before
        return str(peer)

    def _is_trusted(self, address: _Address) -> bool:
        return any(address in network for network in self._trusted)


def network_of(address: str) -> str:
    """Returns the network of one subscriber: an IPv4 address, or the first half of an IPv6 address."""
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False).network_address)
    return address if parsed is None else str(parsed)


def _parsed(text: str) -> _Address | None:
    """Parses an address, also one with a port, as some proxies write it, or an IPv6 address in brackets."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
