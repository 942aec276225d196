"""Addresses: each part is decoded once and encoded once, and what would be passed over is refused."""

import string
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import parse_url

from shared_state.connection.address import SEEDS_MOST, parse, without_passwords

PASSWORDS = ["x@y", "x/y", "x#y", "x?y", "x%41y", "x:y", "x+y", "x&y", "x=y", "a b", "é", "[x]", "%", "a@b/c#d?e:f%g+h"]
PLACE = ("10.0.0.9", 6380)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://store", "must begin with one of redis://"),
        ("store:6379", "must begin with one of"),
        ("redis+sentinel://a:1,b:2", "ends in the name of its service"),
        ("redis+sentinel://a:1//0", "ends in the name of its service"),
        ("redis+sentinel://,b:2/main", "cannot be read"),
        ("redis+cluster://", "cannot be read"),
        ("redis://u:pass/word@a:1", "cannot be read"),
        ("redis+cluster://a:port", "cannot be read"),
        ("redis://a:1/0?nonsense=x&max_connections=many", "cannot be read"),
        ("rediss://a:1?ssl_ca_cert=/ca.pem", "has an unknown option"),
        ("redis+sentinel://a:1/main?tls=yes", "has an unknown option"),
        ("rediss://a:1?ssl_cert_reqs=maybe", "an option with an invalid value"),
        ("redis://a:1?sentinel_password=x", "has an unknown option"),
        # A database that redis-py would pass over: it would write to the first one.
        ("redis://a/x", "must be a number"),
        ("redis://a/0x", "must be a number"),
        ("redis://a/-1", "must be a number"),
        ("redis://a/1/2", "must be a number"),
        ("redis://a//1", "must be a number"),
        ("redis://a?db=x", "must be a number"),
        ("redis://a/1?db=2", "must be a number"),
        ("unix:///run/store.sock?db=x", "must be a number"),
        ("redis+sentinel://a/main/x", "must be a number"),
        ("redis+cluster://a/1", "only database 0"),
        # Passwords whose special characters are not encoded: the rest would be a host, a port or nothing.
        ("redis://:12#34@a", "cannot be read"),
        ("redis://:12?34@a", "cannot be read"),
        ("redis://:12?x=34@a", "has an unknown option"),
        ("redis://:12/34@a", "must be a number"),
        ("redis://:%ff@a", "cannot be read"),
        ("redis://a:0", "cannot be read"),
        ("redis://a:65536", "cannot be read"),
        ("redis://a:1,b:2/0", "redis:// has one host"),
        ("redis://a:1?db=1&db=2", "has an unknown option"),
        ("unix://run/store.sock", "follows three slashes"),
        ("unix:///", "follows three slashes"),
    ],
)
def test_address_that_cannot_be_right_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse(url)


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_more_hosts_than_can_be_queried_are_refused(kind: str) -> None:
    hosts = [f"10.0.0.{k}" for k in range(SEEDS_MOST + 1)]

    assert len(parse(f"redis+{kind}://{','.join([*hosts[1:], hosts[1]])}/{'main' * (kind == 'sentinel')}").seeds) == 32
    with pytest.raises(ValueError, match=f"has {SEEDS_MOST + 1} hosts, at most {SEEDS_MOST}"):
        parse(f"redis+{kind}://{','.join(hosts)}/{'main' * (kind == 'sentinel')}")


@pytest.mark.parametrize(
    "url",
    [
        *("redis://a:1/2", "redis://u:p@a", "redis://u@a", "rediss://u:p@a?ssl_cert_reqs=none"),
        *("unix:///run/store.sock", "unix://u:p@/run/store.sock?db=3"),
    ],
)
def test_address_of_a_single_server_stays_as_it_was_written(url: str) -> None:
    assert parse(url).single == url


@pytest.mark.parametrize("url", ["redis://", "redis://:6379", "redis:///0"])
def test_address_without_a_host_is_this_machine(url: str) -> None:
    assert parse_url(parse(url).single)["host"] == "localhost"


def signed_in(url: str) -> tuple[object, object, object]:
    """What redis-py signs in with, and the database."""
    given = parse_url(url)
    return given.get("username"), given.get("password"), given.get("db")


@pytest.mark.parametrize("password", PASSWORDS)
def test_password_arrives_as_it_is_wherever_it_stands(password: str) -> None:
    encoded = quote(password, safe="")
    wanted = ("u", password, None)

    assert signed_in(parse(f"redis://u:{encoded}@a").single) == wanted
    assert signed_in(parse(f"redis://a?username=u&password={encoded}").single) == wanted
    assert signed_in(parse(f"unix://u:{encoded}@/run/store.sock").single) == wanted
    sentinel = parse(f"redis+sentinel://u:{encoded}@s:1/main?sentinel_password={encoded}&sentinel_username=s")
    assert signed_in(sentinel.server(PLACE)) == wanted
    assert signed_in(sentinel.sentinel(PLACE)) == ("s", password, None)
    assert signed_in(parse(f"redis+cluster://u:{encoded}@a,b").server(PLACE)) == wanted


@given(st.text(string.printable.strip() + "äß€ ", min_size=1), st.text(string.printable.strip(), min_size=1))
def test_any_password_is_encoded_once(password: str, user: str) -> None:
    url = f"rediss+sentinel://{quote(user, safe='')}:{quote(password, safe='')}@s/main/3?ssl_cert_reqs=none"

    assert signed_in(parse(url).server(PLACE)) == (user, password, 3)


def test_plus_in_a_query_is_a_plus() -> None:
    """Of a password that was not encoded: a blank is much rarer in one."""
    assert (
        unquote(urlsplit(parse("redis+sentinel://s/main?sentinel_password=a+b").sentinel(PLACE)).password or "")
        == "a+b"
    )


def test_sentinel_gets_neither_password_nor_database_of_the_store() -> None:
    address = parse("rediss+sentinel://u:p@s/main?username=x&password=y&db=3&ssl_cert_reqs=none")

    assert address.sentinel(PLACE) == "rediss://10.0.0.9:6380?ssl_cert_reqs=none"
    assert address.server(PLACE) == "rediss://u:p@10.0.0.9:6380/3?ssl_cert_reqs=none"


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("form", ["redis://:{}@a:port", "redis+sentinel://a?sentinel_password={}", "redis://:{}@a/x"])
def test_no_message_shows_a_password(form: str, password: str) -> None:
    with pytest.raises(ValueError, match="address") as raised:
        parse(form.format(f"hunter2{password}"))

    assert "hunter2" not in str(raised.value)


def test_error_of_a_server_that_repeats_the_password_is_masked() -> None:
    url = parse("redis://:hunter%2B2@a").single

    assert without_passwords("unknown command 'AUTH', with args beginning with: 'hunter+2'", url).endswith(": '***'")
