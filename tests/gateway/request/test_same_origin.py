"""Admin calls from a browser: the origin of the page, and the host name that it used for the gateway."""

import pytest

from gateway.request.same_origin import foreign_call, is_cross_origin, is_named_locally, is_relayed

HOST = (b"host", b"127.0.0.1:8080")
RELAYS = [
    *(b"via", b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port"),
    *(b"x-forwarded-server", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"x-cluster-client-ip"),
    *(b"cf-connecting-ip", b"cf-ray", b"cf-visitor", b"cf-ipcountry", b"cdn-loop", b"fly-client-ip", b"fly-region"),
    *(b"fastly-client-ip", b"fastly-ssl", b"x-original-forwarded-for", b"x-original-url", b"x-original-host"),
    *(b"akamai-origin-hop", b"x-akamai-edgescape", b"x-azure-clientip", b"x-azure-fdid", b"x-envoy-external-address"),
    *(b"x-envoy-internal", b"cloudfront-viewer-address", b"x-amz-cf-id", b"x-arr-log-id", b"x-vercel-id"),
    *(b"tailscale-user-login", b"x-appengine-user-ip", b"x-sucuri-clientip", b"proxy-connection", b"x-proxyuser-ip"),
    *(b"x-varnish", b"incap-client-ip", b"cdn-requestid", b"do-connecting-ip", b"x-nf-client-connection-ip"),
    *(b"x-amzn-trace-id", b"x-cloud-trace-context", b"ssl-client-cert", b"x-ssl-client-dn", b"ngrok-auth-user"),
]
CLIENTS = [
    *(b"host", b"user-agent", b"accept", b"authorization", b"x-api-key", b"content-type", b"content-length"),
    *(b"x-stainless-lang", b"x-stainless-retry-count", b"x-request-id", b"traceparent", b"origin", b"cookie"),
    *(b"anthropic-version", b"openai-organization", b"x-pllm-priority", b"accept-encoding", b"connection"),
]


@pytest.mark.parametrize(
    ("header", "crosses"),
    [
        ((b"sec-fetch-site", b"same-origin"), False),
        ((b"sec-fetch-site", b"none"), False),
        ((b"sec-fetch-site", b"same-site"), True),  # another port of this machine is somebody else
        ((b"sec-fetch-site", b"cross-site"), True),
        ((b"sec-fetch-site", b"nonsense"), True),
        ((b"origin", b"http://127.0.0.1:8080"), False),
        ((b"origin", b"http://127.0.0.1:8081"), True),
        ((b"origin", b"http://evil.example"), True),
        ((b"origin", b"http://127.0.0.1:8080.evil.example"), True),
        ((b"origin", b"null"), True),
        ((b"origin", b""), True),
        ((b"user-agent", b"curl"), False),
    ],
)
def test_browser_headers_show_the_origin_of_a_call(header: tuple[bytes, bytes], crosses: bool) -> None:
    assert is_cross_origin([HOST, header]) is crosses


def test_one_wrong_origin_among_several_is_enough() -> None:
    assert is_cross_origin([HOST, (b"origin", b"http://127.0.0.1:8080"), (b"origin", b"http://evil.example")])


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "LOCALHOST:1", "a.localhost", "127.0.0.1:80", "[::1]:80"]
)
def test_names_of_this_machine_are_local(host: str) -> None:
    assert is_named_locally([(b"host", host.encode())])


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "192.168.1.5",
            "[2001:db8::1]",
            "",
            "\xff",
            "[",
        ),
        *(
            "localhost,evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost/evil",
            "localhost:x",
        ),
    ],
)
def test_any_other_host_name_may_belong_to_an_attacker(host: str) -> None:
    assert not is_named_locally([(b"host", host.encode("latin-1"))])


def test_client_that_names_no_host_is_no_browser() -> None:
    assert is_named_locally([])


def test_two_names_are_none_of_this_machine() -> None:
    assert not is_named_locally([HOST, HOST])
    assert foreign_call([(b"host", b"localhost"), (b"host", b"127.0.0.1")]) is not None


@pytest.mark.parametrize("name", RELAYS)
def test_header_of_a_proxy_is_a_relay(name: bytes) -> None:
    assert is_relayed([HOST, (name, b"")])


def test_headers_of_clients_are_none() -> None:
    assert not is_relayed([(name, b"127.0.0.1") for name in CLIENTS])


@pytest.mark.parametrize(
    ("headers", "is_refused"),
    [
        ([HOST], False),
        ([], False),
        ([HOST, (b"sec-fetch-site", b"none")], False),
        ([HOST, (b"origin", b"http://127.0.0.1:8080")], False),
        ([HOST, (b"sec-fetch-site", b"cross-site")], True),
        ([HOST, (b"origin", b"http://localhost:3000")], True),
        ([(b"host", b"evil.example:8080")], True),
        ([(b"host", b"evil.example"), (b"origin", b"http://evil.example"), (b"sec-fetch-site", b"same-origin")], True),
    ],
)
def test_call_that_is_not_of_this_machine_is_refused(headers: list[tuple[bytes, bytes]], is_refused: bool) -> None:
    fault = foreign_call(headers)

    assert (fault is not None) is is_refused
    assert fault is None or (fault.status, fault.code) == (403, "cross_origin")
