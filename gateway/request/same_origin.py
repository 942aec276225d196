"""The origin of a request, as its headers show it. A browser lends its place in the network, and with it the rights of
callers on this machine, to the scripts of every site that it shows; other clients send none of a browser's headers.
"""

from functools import lru_cache

from gateway.errors import CrossOrigin
from gateway.http.host_header import Headers, is_this_machine, parse_host

_BROWSER_HEADERS = frozenset({b"origin", b"sec-fetch-site"})
_OWN_SITES = (b"same-origin", b"none")  # the page itself, and an address typed by a person
# Headers that proxies add to the requests they forward. A proxy on this machine connects from loopback on behalf of
# callers that may be anywhere.
_RELAY_HEADERS = frozenset(
    {
        *(b"via", b"forwarded", b"x-forwarded", b"forwarded-for", b"x-real-ip", b"x-client-ip", b"true-client-ip"),
        *(b"x-cluster-client-ip", b"x-remote-ip", b"x-remote-addr", b"x-proxyuser-ip", b"client-ip", b"x-host"),
        *(b"fly-client-ip", b"fastly-client-ip", b"fastly-ff", b"x-appengine-user-ip", b"x-azure-clientip"),
        *(b"x-azure-socketip", b"x-varnish", b"incap-client-ip", b"do-connecting-ip", b"x-nf-client-connection-ip"),
        *(b"x-amzn-trace-id", b"x-cloud-trace-context"),
        *(b"max-forwards", b"wl-proxy-client-ip", b"proxy-client-ip", b"ali-cdn-real-ip", b"x-request-uri"),
    }
)
_RELAY_PREFIXES = (
    *(b"x-forwarded-", b"x-original-", b"x-envoy-", b"x-akamai-", b"akamai-", b"x-sucuri-", b"x-vercel-"),
    *(b"cf-", b"fly-", b"fastly-", b"x-azure-", b"x-arr-", b"cloudfront-", b"x-amz-cf-", b"tailscale-", b"x-nginx-"),
    *(b"x-rewrite-", b"x-proxy", b"proxy-", b"cdn-", b"ssl-client-", b"x-ssl-client-", b"ngrok-"),
)


def foreign_call(headers: Headers) -> CrossOrigin | None:
    """Returns the refusal of a request that did not come from this machine's own programs and pages, as far as its
    headers show. Guards the endpoints that need no key.
    """
    hosts, is_browser = [], False
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name in _BROWSER_HEADERS:
            is_browser = True
    if is_browser and is_cross_origin(headers):
        return CrossOrigin("Pages of other sites may not use this gateway.")
    if len(hosts) > 1 or not all(map(_names_this_machine, hosts)):
        return CrossOrigin("Without a key the gateway answers to localhost only, and to no other name.")
    return None


def is_cross_origin(headers: Headers) -> bool:
    """Returns whether a page of another origin sent the request. Browsers without Sec-Fetch-Site send Origin with every
    request that can change anything.
    """
    sites = _all(headers, b"sec-fetch-site")
    if sites:
        return any(site not in _OWN_SITES for site in sites)
    hosts = _all(headers, b"host")
    return any(origin.partition(b"://")[2] not in hosts for origin in _all(headers, b"origin"))


def is_named_locally(headers: Headers) -> bool:
    """Returns whether the Host header names only this machine, or is absent, as HTTP/1.0 allows. Any other name may
    belong to an attacker, whose name server points it here: the attacker's page would have the same origin as ours.
    """
    hosts = _all(headers, b"host")
    return len(hosts) <= 1 and all(map(_names_this_machine, hosts))


@lru_cache(maxsize=256)
def _names_this_machine(value: bytes) -> bool:
    host = parse_host(value)
    return host is not None and is_this_machine(host)


def is_relayed(headers: Headers) -> bool:
    """Returns whether a proxy forwarded the request."""
    return any(name in _RELAY_HEADERS or name.startswith(_RELAY_PREFIXES) for name, _ in headers)


def _all(headers: Headers, wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name == wanted]
