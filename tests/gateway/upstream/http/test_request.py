"""What a request looks like on the wire, and that nothing can break out of its line."""

import pytest

from gateway.upstream.http.request import Origin, lines, parsed, request


def test_request_has_its_host_its_headers_and_its_length() -> None:
    prepared = request("POST", "http://api.example.com/v1/x?a=b", [("accept", "a/b"), ("X-Key", "k")])

    assert prepared.head(7, lines([("more", "c")])).split(b"\r\n") == [
        b"POST /v1/x?a=b HTTP/1.1",
        b"host: api.example.com",
        b"accept: a/b",
        b"X-Key: k",
        b"more: c",
        b"content-length: 7",
        b"",
        b"",
    ]


def test_get_has_no_length_and_a_proxy_gets_the_whole_address() -> None:
    prepared = request("GET", "http://api.example.com:8080")

    assert prepared.head(0) == b"GET / HTTP/1.1\r\nhost: api.example.com:8080\r\n\r\n"
    assert prepared.head(0, is_absolute=True).startswith(b"GET http://api.example.com:8080/ HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("http://a", Origin("a", 80), b"/"),
        ("https://A.Example/x", Origin("a.example", 443, is_tls=True), b"/x"),
        ("https://a:8443/x/?q=%20&r", Origin("a", 8443, is_tls=True), b"/x/?q=%20&r"),
        ("http://[::1]:81/", Origin("::1", 81), b"/"),
        ("http://a/v1/../health", Origin("a", 80), b"/health"),
        ("http://a/../a/./b/..", Origin("a", 80), b"/a/"),
        ("http://a//b/", Origin("a", 80), b"//b/"),
    ],
)
def test_address_is_read(url: str, origin: Origin, target: bytes) -> None:
    assert parsed(url) == (origin, target)


def test_authority_has_brackets_and_a_port_where_needed() -> None:
    origins = [Origin("a", 80), Origin("a", 443), Origin("a", 443, is_tls=True), Origin("::1", 80), Origin("::1", 81)]

    assert [origin.authority for origin in origins] == ["a", "a:443", "a", "[::1]", "[::1]:81"]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/",
        "http:///x",
        "a/b",
        "http://a/ b",
        "http://a/\r\nx: y",
        "http://u:p@a/",
        "http://a:99999/",
        "http://ä/",
    ],
)
def test_other_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|[Pp]ort"):
        request("GET", url)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "a\r\nb: c"), ("x", "a\rb"), ("x", "a\nb"), ("x", "a\0"), ("x", "\x7f"), ("x\r\n", "a"), ("x y", "a"),
        ("x:", "a"), ("", "a"), ("ä", "a"), ("Content-Length", "0"), ("Transfer-Encoding", "chunked"),
        ("Connection", "close"), ("TE", "trailers"), ("Upgrade", "h2c"), ("Expect", "100-continue"),
    ],
)  # fmt: skip
def test_header_that_would_break_its_line_or_the_framing_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="invalid header"):
        lines([(name, value)])
    with pytest.raises(ValueError, match="invalid header"):
        request("POST", "http://a/", [(name, value)])


def test_header_of_another_host_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid header"):
        request("POST", "http://a/", [("Host", "b")])
