"""Libraries where the store takes them, scripts where it does not, and calls that meet either without a loss."""

from collections.abc import Iterator

import pytest

from shared_state.connection.batcher import Batcher
from shared_state.embedded import EmbeddedStore
from shared_state.errors import ScriptFailed
from shared_state.scripts import Source, bundle
from tests.shared_state.connection.test_batcher import BREAK, ECHO, PUSH, SCRIPTS, packed, pushed, words
from tests.support.live_state import opened_batcher
from tests.support.stores import RedisCli, fresh_domain, on_loop

USER = "narrow"


def calls_of(cli: RedisCli, command: str) -> int:
    stats = cli.do("INFO", "commandstats").get(f"cmdstat_{command}", {"calls": 0, "rejected_calls": 0})
    return int(stats["calls"]) - int(stats.get("rejected_calls", 0))


@pytest.fixture
def narrow(server: EmbeddedStore, cli: RedisCli) -> Iterator[str]:
    """The address for a user whose rights a test takes away."""
    cli.do("ACL", "SETUSER", USER, "on", ">secret", "~*", "&*", "+@all")
    try:
        yield f"unix://{USER}@{server.socket}?password=secret"
    finally:
        cli.do("ACL", "DELUSER", USER)


@on_loop
async def test_call_goes_out_as_a_function(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        before = calls_of(cli, "evalsha"), calls_of(cli, "fcall")
        await batcher.call(packed(ECHO, "once"))
        after = calls_of(cli, "evalsha"), calls_of(cli, "fcall")

    assert (after[0] - before[0], after[1] - before[1]) == (0, 1)


@pytest.mark.parametrize("missing", ["-fcall", "-function|load", "-function", "-@scripting +evalsha +script"])
@on_loop
async def test_user_without_the_right_calls_scripts_and_loses_no_call(narrow: str, cli: RedisCli, missing: str) -> None:
    cli.do("ACL", "SETUSER", USER, *missing.split())
    key = fresh_domain()
    async with opened_batcher(narrow, SCRIPTS) as batcher:
        calls = [batcher.call(packed(PUSH, str(k), key), is_urgent=True) for k in range(40)]
        replies = [await call for call in calls]

    assert words(replies) == pushed(cli, key) == [str(k) for k in range(40)]


@on_loop
async def test_right_that_is_lost_during_a_connection_loses_no_call(narrow: str, cli: RedisCli) -> None:
    key = fresh_domain()
    async with opened_batcher(narrow, SCRIPTS) as batcher:
        await batcher.call(packed(PUSH, "before", key))
        cli.do("ACL", "SETUSER", USER, "-fcall")
        await batcher.call(packed(PUSH, "after", key))

    assert pushed(cli, key) == ["before", "after"]


@on_loop
async def test_next_connection_tries_libraries_again(narrow: str, cli: RedisCli) -> None:
    cli.do("ACL", "SETUSER", USER, "-fcall")
    async with opened_batcher(narrow, SCRIPTS) as batcher:
        await batcher.call(packed(ECHO, "a script"))
        cli.do("ACL", "SETUSER", USER, "+fcall")
        cli.do("CLIENT", "KILL", "USER", USER)
        before = calls_of(cli, "fcall")
        await batcher.call(packed(ECHO, "a function"))

        assert calls_of(cli, "fcall") == before + 1


@on_loop
async def test_user_who_may_call_neither_gets_the_error(narrow: str, cli: RedisCli) -> None:
    cli.do("ACL", "SETUSER", USER, "-fcall", "-evalsha")
    async with opened_batcher(narrow, SCRIPTS) as batcher:
        with pytest.raises(Exception, match="NOPERM"):
            await batcher.call(packed(ECHO, ""))


@on_loop
async def test_flushed_libraries_are_loaded_again(own_server: EmbeddedStore) -> None:
    key = fresh_domain()
    with RedisCli(own_server.url) as cli:
        async with opened_batcher(own_server.url, SCRIPTS) as batcher:
            await batcher.call(packed(PUSH, "before", key))
            cli.do("FUNCTION", "FLUSH")
            calls = [batcher.call(packed(PUSH, str(k), key), is_urgent=True) for k in range(40)]
            replies = [await call for call in calls]

            assert words(replies) == [str(k) for k in range(40)]
            assert pushed(cli, key) == ["before", *words(replies)]


@on_loop
async def test_library_that_another_replica_has_loaded_is_used(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_batcher(server.url, SCRIPTS) as one, opened_batcher(server.url, SCRIPTS) as other:
        before = calls_of(cli, "fcall")
        replies = [await batcher.call(packed(ECHO, "x")) for batcher in (one, other, other)]

        assert (words(replies), calls_of(cli, "fcall")) == (["x", "x", "x"], before + 3)


@on_loop
async def test_error_of_a_script_is_not_taken_for_a_missing_function(server: EmbeddedStore) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        with pytest.raises(ScriptFailed, match="BROKEN by me"):
            await batcher.call(packed(BREAK, "me"))


@on_loop
async def test_full_store_still_ends_leases_and_refuses_the_rest(own_server: EmbeddedStore) -> None:
    """As a script whose first write removes something does, and every other."""
    key, texts = fresh_domain(), ("redis.call('SET', KEYS[1], ARGV[1]) return { ARGV[1] }\n",)
    write = bundle([Source("write", texts[0])])["write"]
    end = bundle([Source("end", texts[0], flags=("allow-oom",))])["end"]
    with RedisCli(own_server.url) as cli:
        async with opened_batcher(own_server.url, (write, end)) as batcher:
            await batcher.call(packed(write, "warm", key))
            cli.do("CONFIG", "SET", "maxmemory", 1)
            with pytest.raises(Exception, match="OOM"):
                await batcher.call(packed(write, "refused", key))

            assert words([await batcher.call(packed(end, "ended", key))]) == ["ended"]


def test_scripts_of_two_versions_have_libraries_of_their_own() -> None:
    one, other = (bundle([Source("echo", f"return {{ ARGV[1] }} -- {k}\n")])["echo"] for k in (1, 2))

    assert one.library.name != other.library.name
    assert one.function != other.function


@on_loop
async def test_libraries_of_two_versions_serve_side_by_side(server: EmbeddedStore) -> None:
    versions = [bundle([Source("echo", f"return {{ '{k}' }}\n")])["echo"] for k in (1, 2)]

    async def answer(batcher: Batcher, k: int) -> list[str]:
        return words([await batcher.call(packed(versions[k], "")) for _ in range(2)])

    async with opened_batcher(server.url, versions[:1]) as one, opened_batcher(server.url, versions[1:]) as other:
        assert (await answer(one, 0), await answer(other, 1)) == (["1", "1"], ["2", "2"])
