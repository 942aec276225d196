"""Where an admin call comes from, as its browser tells. A browser lends its place in the network, and so what this
machine's callers may do, to the scripts of every site it shows; clients that are no browsers tell nothing.
"""

import ipaddress

from gateway.auth import Headers

_OWN_SITES = (b"same-origin", b"none")  # the page itself, and an address typed by a person


def is_cross_origin(headers: Headers) -> bool:
    """Made by a page of another origin. Browsers that tell no Sec-Fetch-Site tell the Origin of what changes
    anything.
    """
    sites = _all(headers, b"sec-fetch-site")
    if sites:
        return any(site not in _OWN_SITES for site in sites)
    hosts = _all(headers, b"host")
    return any(origin.partition(b"://")[2] not in hosts for origin in _all(headers, b"origin"))


def is_named_locally(headers: Headers) -> bool:
    """Asked for by a name that can only mean this machine. One that somebody else's name server points here would make
    his page the same origin as ours.
    """
    return all(_is_local_name(host) for host in _all(headers, b"host"))


def _is_local_name(host: bytes) -> bool:
    name = host.decode("latin-1").lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _all(headers: Headers, wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name == wanted]
