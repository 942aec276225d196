"""Heads that RFC 9110 and 9112 demand to be refused, and those that mean something."""

import pytest

from gateway.http.request_head import InvalidHead, checked_head

HOST = (b"host", b"gateway.test:8080")


@pytest.mark.parametrize(
    "value",
    [b"a", b"a.example", b"a_b", b"xn--bcher-kva.example", b"127.0.0.1:80", b"[::1]", b"[::1]:8080", b"a:", b"A%41"],
)
def test_host_is_a_name_or_an_address_with_an_optional_port(value: bytes) -> None:
    assert checked_head("GET", b"/", "1.1", [(b"host", value)]).headers == [(b"host", value)]


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b" ", b":80", b"a,b", b"a, b", b"a b", b"user@a", b"a/path", b"a?query", b"a#fragment", b"http://a"),
        *(b"a:b", b"a:1:2", b"a:123456", b"::1", b"[::1", b"[::1]x", b"[zz]", b"a\xff", b"a\\b", b'a"', b"<a>"),
    ],
)  # fmt: skip
def test_another_host_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidHead) as refused:
        checked_head("GET", b"/", "1.1", [(b"host", value)])
    assert refused.value.status == 400


@pytest.mark.parametrize("count", [0, 2, 3])
def test_one_host_is_demanded(count: int) -> None:
    with pytest.raises(InvalidHead):
        checked_head("GET", b"/", "1.1", [HOST] * count)


def test_http_1_0_may_have_no_host() -> None:
    head = checked_head("GET", b"/", "1.0", [])

    assert (head.target, head.keeps_alive) == (b"/", False)


@pytest.mark.parametrize(
    ("method", "url", "target", "host"),
    [
        ("GET", b"/a?b=c", b"/a?b=c", HOST[1]),
        ("GET", b"/a?b=http://c", b"/a?b=http://c", HOST[1]),
        ("GET", b"http://other.test/a", b"/a", b"other.test"),
        ("GET", b"http://other.test:81/a?b=c&d", b"/a?b=c&d", b"other.test:81"),
        ("GET", b"HTTPS://other.test", b"/", b"other.test"),
        ("GET", b"http://other.test?b", b"/?b", b"other.test"),
        ("GET", b"http://[::1]:81/", b"/", b"[::1]:81"),
        ("OPTIONS", b"*", b"*", HOST[1]),
    ],
)
def test_target_and_host_that_count(method: str, url: bytes, target: bytes, host: bytes) -> None:
    """In absolute form its authority replaces the Host header."""
    head = checked_head(method, url, "1.1", [(b"x", b"y"), HOST])

    assert (head.target, [value for name, value in head.headers if name == b"host"]) == (target, [host])


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", b"*"),
        ("POST", b"gateway.test:8080"),
        ("GET", b"ftp://other.test/"),
        ("GET", b"http:///a"),
        ("GET", b"http://user@other.test/"),
        ("GET", b"/a#b"),
        ("GET", b"http://other.test/a#b"),
        ("GET", b"a"),
    ],
)
def test_target_of_no_path_here_is_refused(method: str, url: bytes) -> None:
    with pytest.raises(InvalidHead) as refused:
        checked_head(method, url, "1.1", [HOST])
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("version", "header", "status"),
    [
        ("1.0", (b"transfer-encoding", b"chunked"), 400),
        ("1.1", (b"expect", b"200-ok"), 417),
        ("2.0", (b"x", b"y"), 505),
        ("0.9", (b"x", b"y"), 505),
        ("1.2", (b"x", b"y"), 505),
    ],
)
def test_what_is_not_spoken_is_refused(version: str, header: tuple[bytes, bytes], status: int) -> None:
    with pytest.raises(InvalidHead) as refused:
        checked_head("POST", b"/", version, [HOST, header])
    assert refused.value.status == status


@pytest.mark.parametrize(("version", "awaits"), [("1.1", True), ("1.0", False)])
def test_only_http_1_1_awaits_a_continue(version: str, awaits: bool) -> None:
    assert checked_head("POST", b"/", version, [HOST, (b"expect", b"100-Continue")]).awaits_go is awaits


@pytest.mark.parametrize(
    ("version", "value", "keeps"),
    [("1.1", b"keep-alive", True), ("1.1", b"Close", False), ("1.0", b"keep-alive", False)],
)
def test_connection_is_kept_as_the_client_wants(version: str, value: bytes, keeps: bool) -> None:
    assert checked_head("GET", b"/", version, [HOST, (b"connection", value)]).keeps_alive is keeps
