"""`pllm state`: one command, its reply as lines."""

import pytest

from shared_state.embedded import EmbeddedStore
from shared_state.errors import StateError
from shared_state.inspection import inspect
from tests.support.stores import RedisCli, fresh_domain


def test_hash_is_a_table(server: EmbeddedStore, cli: RedisCli) -> None:
    key = fresh_domain()
    cli.do("HSET", key, "state", "closed", "generation", "3")

    assert inspect(server.url, ["HGETALL", key]) == ["state       closed", "generation  3"]


def test_list_is_one_line_each(server: EmbeddedStore, cli: RedisCli) -> None:
    key = fresh_domain()
    cli.do("RPUSH", key, "one", "two")

    assert inspect(server.url, ["LRANGE", key, "0", "-1"]) == ["one", "two"]


def test_stream_is_nested(server: EmbeddedStore, cli: RedisCli) -> None:
    key = fresh_domain()
    cli.do("XADD", key, "1-1", "from", "closed")
    lines = inspect(server.url, ["XRANGE", key, "-", "+"])

    assert lines[0] == "1)"
    assert [line.split() for line in lines[1:]] == [["1-1"], *[line.split() for line in lines[2:]]]


def test_bytes_that_are_no_text_are_shown(server: EmbeddedStore, cli: RedisCli) -> None:
    key = fresh_domain()
    cli.do("SET", key, b"\xff\x00ok")

    assert inspect(server.url, ["GET", key]) == ["\\xff\x00ok"]


def test_missing_key_is_none(server: EmbeddedStore) -> None:
    assert inspect(server.url, ["GET", fresh_domain()]) == ["None"]


def test_number_is_a_line(server: EmbeddedStore) -> None:
    assert inspect(server.url, ["EXISTS", fresh_domain()]) == ["0"]


def test_refused_command_says_why(server: EmbeddedStore) -> None:
    with pytest.raises(StateError, match="wrong number of arguments"):
        inspect(server.url, ["GET"])


@pytest.mark.parametrize("url", ["unix:///nobody/is/here.sock", "redis://127.0.0.1:1", "http://wrong", "nonsense"])
def test_store_that_is_not_there_is_an_error(url: str) -> None:
    with pytest.raises(StateError):
        inspect(url, ["PING"])
