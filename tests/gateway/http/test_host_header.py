"""A Host header is exactly one host, or it is refused."""

import pytest

from gateway.http.host_header import Host, is_this_machine, parse_host


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"gateway", Host("gateway", None)),
        (b"Gateway.Example.COM:8080", Host("gateway.example.com", 8080)),
        (b"my_service-1:80", Host("my_service-1", 80)),
        (b"xn--bcher-kva.example", Host("xn--bcher-kva.example", None)),
        (b"localhost.", Host("localhost.", None)),
        (b"A%41:", Host("a%41", None)),
        (b"[fe80::1%25eth0]:80", Host("fe80::1", 80)),
        (b"127.0.0.1:0", Host("127.0.0.1", 0)),
        (b"127.0.0.1:65535", Host("127.0.0.1", 65_535)),
        (b"[::1]", Host("::1", None)),
        (b"[2001:DB8::1]:443", Host("2001:db8::1", 443)),
        (b"[::ffff:127.0.0.1]:1", Host("::ffff:127.0.0.1", 1)),
    ],
)
def test_one_host_is_read(value: bytes, host: Host) -> None:
    assert parse_host(value) == host


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b" ", b":", b":80", b" a", b"a ", b"a\t", b"a b", b"a\r\nb", b"a\x00"),
        *(
            b"a,b",
            b"a, b",
            b"a:80,b",
            b"user@a",
            b"user:pass@a:80",
            b"a/b",
            b"a/",
            b"a?b",
            b"a#b",
            b"http://a",
            b"a\\b",
        ),
        *(b"a:b", b"a:-1", b"a:+1", b"a:65536", b"a:000080", b"a:80:80", b"a: 80", "a:\u0661".encode()),
        *(
            b"::1",
            b"[::1",
            b"::1]",
            b"[]",
            b"[localhost]",
            b"[127.0.0.1]",
            b"[::1]x",
            b"[::1]80",
            b"[::1%lo]",
            b"[::1%25]",
            b"[[::1]]",
        ),
        *(b"\xff", "b\xfccher".encode(), b"a%6", b"a%zz", b"a" * 256, b'"a"', b"<a>"),
    ],
)
def test_anything_else_is_refused(value: bytes) -> None:
    assert parse_host(value) is None


@pytest.mark.parametrize("value", [b"localhost", b"LOCALHOST:1", b"a.localhost", b"127.8.9.10", b"[::1]:80"])
def test_name_that_can_only_mean_this_machine(value: bytes) -> None:
    host = parse_host(value)

    assert host is not None
    assert is_this_machine(host)


@pytest.mark.parametrize(
    "value",
    [
        *(b"evil.example", b"localhost.evil.example", b"127.0.0.1.evil.example", b"notlocalhost", b"localhost."),
        *(b"127.1", b"2130706433", b"0x7f.0.0.1", b"0177.0.0.1", b"0.0.0.0", b"192.168.1.5", b"[2001:db8::1]", b"[::]"),
        *(b"host.docker.internal", b"gateway", b"localhost%2eevil.example", b"%6cocalhost", b"localhost;a"),
    ],
)
def test_name_that_another_could_point_here(value: bytes) -> None:
    host = parse_host(value)

    assert host is not None
    assert not is_this_machine(host)
