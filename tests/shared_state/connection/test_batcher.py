"""Group commit: few round trips, every call answered by its own reply, none lost, none hanging."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shared_state.connection.batcher import IN_FLIGHT_MOST
from shared_state.connection.call import Reply
from shared_state.connection.client import Client
from shared_state.connection.commands import command
from shared_state.connection.patience import Patience
from shared_state.embedded import EmbeddedStore
from shared_state.errors import ScriptFailed, StoreTimeout, StoreUnavailable
from shared_state.scripts import Script, Source, bundle
from tests.support.live_state import HASTY, LENIENT, opened_batcher
from tests.support.store_proxy import running_store_proxy
from tests.support.stores import RedisCli, eventually, fresh_domain, on_loop, stopped


def script(name: str, text: str) -> Script:
    return bundle([Source(name, text)])[name]


ECHO = script("echo", "return { ARGV[1] }\n")
PUSH = script("push", "redis.call('RPUSH', KEYS[1], ARGV[1]) return { ARGV[1] }\n")
ECHO_PUSH = script("echo_push", "redis.call('RPUSH', KEYS[1], ARGV[1]) return { ARGV[1], ARGV[1] }\n")
BREAK = script("break", "return redis.error_reply('BROKEN by ' .. ARGV[1])\n")
NUMBER = script("number", "return 7\n")
# As a store does that has been made a replica of another one.
MOVES = script(
    "moves", "if redis.call('INCR', KEYS[1]) == 1 then return redis.error_reply('READONLY no') end return { ARGV[1] }\n"
)
SCRIPTS = (ECHO, PUSH, BREAK, NUMBER)


def packed(script: Script, word: str, key: str = "unused") -> bytes:
    return command(b"FCALL", script.function.encode(), b"1", key.encode(), word.encode())


def block(for_s: float) -> None:
    """Holds the event loop up."""
    ends_s = time.monotonic() + for_s
    while time.monotonic() < ends_s:
        pass


def words(replies: list[Reply]) -> list[str]:
    return [str(reply[0], "ascii") for reply in replies if isinstance(reply[0], bytes)]


def pushed(cli: RedisCli, key: str) -> list[str]:
    return [word.decode() for word in cli.do("LRANGE", key, 0, -1)]


# -- group commit -----------------------------------------------------------------------------------------------


@on_loop
async def test_thirty_two_concurrent_calls_need_at_most_three_round_trips(server: EmbeddedStore) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        await asyncio.gather(*(batcher.call(packed(ECHO, str(k))) for k in range(32)))

        assert batcher.round_trips <= 3


@on_loop
async def test_calls_made_while_another_is_in_flight_go_out_together(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        before = batcher.round_trips
        cli.do("CLIENT", "PAUSE", 60_000, "WRITE")
        calls = [batcher.call(packed(ECHO, "first"))]
        await eventually(lambda: batcher.round_trips == before + 1)
        for k in range(50):
            calls.append(batcher.call(packed(ECHO, str(k))))
            await asyncio.sleep(0)
        cli.do("CLIENT", "UNPAUSE")
        await asyncio.gather(*calls)

        assert batcher.round_trips == before + 2


@on_loop
async def test_store_that_knows_some_scripts_carries_calls_out_in_their_order(
    own_server: EmbeddedStore,
) -> None:
    """A connection may break between two loads, or another version may have brought some of its own."""
    key = fresh_domain()
    with RedisCli(own_server.url) as cli:
        cli.do("SCRIPT", "LOAD", ECHO_PUSH.text)
        async with opened_batcher(own_server.url, (PUSH, ECHO_PUSH)) as batcher:
            calls = batcher.call(packed(PUSH, "first", key)), batcher.call(packed(ECHO_PUSH, "second", key))
            await asyncio.gather(*calls)

            assert pushed(cli, key) == ["first", "second"]


@on_loop
async def test_urgent_call_waits_for_no_other_and_takes_the_rest_along(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        before = batcher.round_trips
        cli.do("CLIENT", "PAUSE", 60_000, "WRITE")
        first = batcher.call(packed(ECHO, "first"))
        await eventually(lambda: batcher.round_trips == before + 1)
        second = batcher.call(packed(ECHO, "second"))
        third = batcher.call(packed(ECHO, "third"), is_urgent=True)
        await eventually(lambda: batcher.round_trips == before + 2)
        cli.do("CLIENT", "UNPAUSE")
        await asyncio.gather(first, second, third)

        assert batcher.round_trips == before + 2


@on_loop
async def test_single_call_is_sent_at_once(server: EmbeddedStore) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        for k in range(5):
            await batcher.call(packed(ECHO, str(k)))

        assert batcher.round_trips == 5


@on_loop
async def test_flush_is_bounded(server: EmbeddedStore) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        await asyncio.gather(*(batcher.call(packed(ECHO, str(k))) for k in range(2 * IN_FLIGHT_MOST + 1)))

        assert batcher.round_trips == 3


@on_loop
async def test_no_more_calls_are_in_flight_than_a_store_answers_within_a_deadline(
    server: EmbeddedStore, cli: RedisCli
) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        calls = []
        with paused(cli):
            for k in range(IN_FLIGHT_MOST + 20):
                calls.append(batcher.call(packed(ECHO, str(k)), is_urgent=True))
                await asyncio.sleep(0)
            most = len(batcher._in_flight)
        await asyncio.gather(*calls)

        assert most == IN_FLIGHT_MOST


@on_loop
async def test_every_caller_gets_its_own_reply(server: EmbeddedStore) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        replies = await asyncio.gather(*(batcher.call(packed(ECHO, f"{k}"), is_urgent=k % 3 == 0) for k in range(1000)))

        assert words(replies) == [f"{k}" for k in range(1000)]


@on_loop
async def test_urgent_calls_go_first(server: EmbeddedStore, cli: RedisCli) -> None:
    key = fresh_domain()
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        settles = [batcher.call(packed(PUSH, f"settle{k}", key)) for k in range(3)]
        acquires = [batcher.call(packed(PUSH, f"acquire{k}", key), is_urgent=True) for k in range(3)]
        await asyncio.gather(*settles, *acquires)

    assert pushed(cli, key) == ["acquire0", "acquire1", "acquire2", "settle0", "settle1", "settle2"]


# -- cancelled callers ------------------------------------------------------------------------------------------


@on_loop
async def test_reply_of_a_cancelled_caller_goes_to_its_release(server: EmbeddedStore, cli: RedisCli) -> None:
    orphans: list[Reply] = []
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        cli.do("CLIENT", "PAUSE", 60_000, "WRITE")
        call = batcher.call(packed(ECHO, "grant"), orphaned=orphans.append)
        await eventually(lambda: batcher.round_trips == 2)
        call.cancel()
        cli.do("CLIENT", "UNPAUSE")
        await batcher.call(packed(ECHO, "next"))

    assert words(orphans) == ["grant"]


@on_loop
async def test_cancelled_callers_do_not_shift_the_replies_of_others(server: EmbeddedStore) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        calls = [batcher.call(packed(ECHO, str(k))) for k in range(60)]
        for call in calls[::3]:
            call.cancel()
        replies = await asyncio.gather(*(call for call in calls if not call.cancelled()))

        assert words(replies) == [str(k) for k in range(60) if k % 3]


@on_loop
async def test_reply_that_was_awaited_goes_nowhere_else(server: EmbeddedStore) -> None:
    orphans: list[Reply] = []
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        await batcher.call(packed(ECHO, "grant"), orphaned=orphans.append)

    assert orphans == []


# -- errors -----------------------------------------------------------------------------------------------------


@on_loop
async def test_error_of_one_call_is_not_the_others(server: EmbeddedStore) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        calls = [batcher.call(packed(script, str(k))) for k, script in enumerate((ECHO, BREAK, ECHO))]
        with pytest.raises(ScriptFailed, match="BROKEN by 1"):
            await calls[1]

        assert words([await calls[0], await calls[2]]) == ["0", "2"]


@on_loop
async def test_reply_that_is_no_list_is_an_error(server: EmbeddedStore) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        with pytest.raises(ScriptFailed, match="not a script's reply: 7"):
            await batcher.call(packed(NUMBER, ""))


@on_loop
async def test_unawaited_failure_is_no_error_of_the_event_loop(server: EmbeddedStore) -> None:
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        batcher.call(packed(BREAK, ""))
        await batcher.call(packed(ECHO, "next"))

    assert problems == []


@on_loop
async def test_store_that_refuses_is_unavailable_at_once(server: EmbeddedStore) -> None:
    async with opened_batcher(f"unix://{server.folder}/nobody.sock", SCRIPTS) as batcher:
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await batcher.call(packed(ECHO, ""))


def forget_scripts(cli: RedisCli) -> None:
    """In both forms."""
    cli.do("FUNCTION", "FLUSH", "SYNC")
    cli.do("SCRIPT", "FLUSH", "SYNC")


# -- scripts ----------------------------------------------------------------------------------------------------


@on_loop
async def test_flushed_scripts_are_loaded_again_and_only_their_calls_resent(
    server: EmbeddedStore, cli: RedisCli
) -> None:
    key = fresh_domain()
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        await batcher.call(packed(PUSH, "before", key))
        forget_scripts(cli)
        replies = await asyncio.gather(*(batcher.call(packed(PUSH, str(k), key)) for k in range(40)))

    assert words(replies) == [str(k) for k in range(40)]
    assert pushed(cli, key) == ["before", *(str(k) for k in range(40))]


@on_loop
async def test_script_that_no_list_holds_is_an_error(server: EmbeddedStore) -> None:
    async with opened_batcher(server.url, (ECHO,)) as batcher:
        with pytest.raises(ScriptFailed, match="drops its scripts"):
            await batcher.call(packed(script("other", "return { 1, 2, 3 }\n"), ""))

        assert words([await batcher.call(packed(ECHO, "still"))]) == ["still"]


@on_loop
async def test_script_that_does_not_compile_is_an_error(server: EmbeddedStore) -> None:
    broken = script("broken", "return {\n")
    async with opened_batcher(server.url, (broken,)) as batcher:
        with pytest.raises(ScriptFailed, match="did not load broken"):
            await batcher.call(packed(broken, ""))


# -- broken connections -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def paused(cli: RedisCli) -> Iterator[None]:
    """Meanwhile the store takes calls and carries none out."""
    cli.do("CLIENT", "PAUSE", 60_000, "WRITE")
    try:
        yield
    finally:
        cli.do("CLIENT", "UNPAUSE")


def kill_others(cli: RedisCli) -> None:
    cli.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@on_loop
async def test_killed_connections_lose_no_call(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        calls: list[asyncio.Future[Reply]] = []
        for k in range(1000):
            calls.append(batcher.call(packed(ECHO, str(k))))
            await asyncio.sleep(0)
            if k % 100 == 50:
                kill_others(cli)
            if k % 100 == 99:
                await calls[-1]
        replies = await asyncio.gather(*calls)

        assert words(replies) == [str(k) for k in range(1000)]


@on_loop
async def test_call_in_flight_when_the_connection_breaks_is_sent_in_its_other_form(
    server: EmbeddedStore, cli: RedisCli
) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        cli.do("CLIENT", "PAUSE", 60_000, "WRITE")
        call = batcher.call(packed(ECHO, "first"), packed(ECHO, "again"))
        await eventually(lambda: batcher.round_trips == 2)
        kill_others(cli)
        await eventually(lambda: batcher.round_trips == 3)
        cli.do("CLIENT", "UNPAUSE")

        assert words([await call]) == ["again"]


@on_loop
async def test_calls_in_flight_when_the_connection_breaks_go_out_first_and_in_their_order(
    server: EmbeddedStore, cli: RedisCli
) -> None:
    key = fresh_domain()
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        with paused(cli):
            calls = [batcher.call(packed(PUSH, str(k), key), is_urgent=True) for k in range(IN_FLIGHT_MOST)]
            await eventually(lambda: len(batcher._in_flight) == IN_FLIGHT_MOST)
            calls.append(batcher.call(packed(PUSH, "waits", key), is_urgent=True))
            before = batcher.round_trips
            kill_others(cli)
            await eventually(lambda: batcher.round_trips > before)
        await asyncio.gather(*calls)

        assert pushed(cli, key) == [*map(str, range(IN_FLIGHT_MOST)), "waits"]


@on_loop
async def test_call_that_was_not_carried_out_is_sent_in_its_first_form(server: EmbeddedStore, cli: RedisCli) -> None:
    """Its other form would be refused what was never granted; and it has all of its deadlines."""
    async with opened_batcher(server.url, (*SCRIPTS, MOVES)) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        forget_scripts(cli)
        forgotten = await batcher.call(packed(ECHO, "first"), packed(ECHO, "again"))
        key = fresh_domain()
        moved = await batcher.call(packed(MOVES, "first", key), packed(MOVES, "again", key))

        assert words([forgotten, moved]) == ["first", "first"]


@on_loop
async def test_flushed_scripts_and_a_killed_connection_at_once_lose_no_call(
    server: EmbeddedStore, cli: RedisCli
) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        calls: list[asyncio.Future[Reply]] = []
        for k in range(300):
            calls.append(batcher.call(packed(ECHO, str(k))))
            await asyncio.sleep(0)
            if k % 60 == 20:
                forget_scripts(cli)
            if k % 60 == 22:
                kill_others(cli)
            if k % 60 == 59:
                await calls[-1]
        replies = await asyncio.gather(*calls)

        assert words(replies) == [str(k) for k in range(300)]


@on_loop
async def test_settles_go_out_while_acquires_never_cease(server: EmbeddedStore, cli: RedisCli) -> None:
    key = fresh_domain()
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        settles = [batcher.call(packed(PUSH, "settle", key)) for _ in range(100)]
        acquires = [batcher.call(packed(PUSH, "acquire", key), is_urgent=True) for _ in range(5 * IN_FLIGHT_MOST)]
        await asyncio.gather(*settles, *acquires)

    most = IN_FLIGHT_MOST
    in_turn = ["acquire"] * most + ["settle"] * most + ["acquire"] * most + ["settle"] * (100 - most)
    assert pushed(cli, key) == in_turn + ["acquire"] * 3 * most


# -- deadlines --------------------------------------------------------------------------------------------------


@on_loop
async def test_paused_store_is_a_timeout_and_later_calls_work_again(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_batcher(server.url, SCRIPTS, patience=HASTY) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        cli.do("CLIENT", "PAUSE", 60_000, "WRITE")
        began_s = time.monotonic()
        with pytest.raises(StoreTimeout):
            await batcher.call(packed(ECHO, "late"))
        waited_s = time.monotonic() - began_s
        cli.do("CLIENT", "UNPAUSE")

        assert waited_s < 3
        assert words([await batcher.call(packed(ECHO, "after"))]) == ["after"]


@on_loop
async def test_hiccup_of_the_store_costs_no_call(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_batcher(server.url, SCRIPTS, patience=Patience(200, 20_000)) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        cli.do("CLIENT", "PAUSE", 60_000, "WRITE")
        call = batcher.call(packed(ECHO, "first"), packed(ECHO, "again"))
        await eventually(lambda: batcher.round_trips >= 3)
        cli.do("CLIENT", "UNPAUSE")

        assert words([await call]) == ["again"]


@on_loop
async def test_store_that_hangs_is_reported_in_well_under_a_second(own_server: EmbeddedStore) -> None:
    async with opened_batcher(own_server.url, SCRIPTS, patience=HASTY) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        began_s = time.monotonic()
        with stopped(own_server), pytest.raises(StoreUnavailable):
            await batcher.call(packed(ECHO, "late"))
        waited_s = time.monotonic() - began_s

        assert waited_s < 1.5
        assert words([await batcher.call(packed(ECHO, "after"))]) == ["after"]


@on_loop
async def test_reply_that_has_arrived_is_not_late(server: EmbeddedStore, cli: RedisCli) -> None:
    """It waits in the socket while this process is busy with another: timers come before the next look at sockets."""
    loop = asyncio.get_running_loop()
    other, its_peer = socket.socketpair()

    def busy() -> None:
        loop.remove_reader(other)
        batcher._clock._waited_s += 0.999  # the next tick is over the deadline
        cli.do("CLIENT", "UNPAUSE")
        block(0.2)

    async with opened_batcher(server.url, SCRIPTS, patience=Patience(1000, 2000)) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        with other, its_peer, paused(cli):
            call = batcher.call(packed(ECHO, "patient"), packed(ECHO, "sent again"))
            await eventually(lambda: len(batcher._in_flight) == 1)
            loop.add_reader(other, busy)
            its_peer.send(b"x")

            assert words([await call]) == ["patient"]
        assert batcher.late == 0


@pytest.mark.parametrize(("has_standby", "refusals", "is_lost"), [(False, 2, False), (False, 3, True), (True, 1, True)])
@on_loop
async def test_refused_connection_is_tried_again_where_no_standby_store_takes_over(
    server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, has_standby: bool, refusals: int, is_lost: bool
) -> None:
    attempts = iter([StoreUnavailable("refused")] * refusals)
    connect = Client.connect

    async def refused_first(self: Client, *callbacks: Any) -> None:
        if (error := next(attempts, None)) is not None:
            raise error
        await connect(self, *callbacks)

    monkeypatch.setattr(Client, "connect", refused_first)
    async with opened_batcher(server.url, SCRIPTS, patience=LENIENT._replace(has_standby=has_standby)) as batcher:
        (reply,) = await asyncio.gather(batcher.call(packed(ECHO, "asked")), return_exceptions=True)

        assert isinstance(reply, StoreUnavailable) is is_lost


@on_loop
async def test_late_reply_is_waited_for_while_bytes_come(server: EmbeddedStore) -> None:
    with running_store_proxy(server) as proxy:
        async with opened_batcher(proxy.url, SCRIPTS, patience=Patience(150, 20_000)) as batcher:
            await batcher.call(packed(ECHO, "warm"))
            began_s = time.monotonic()
            with proxy.dribbling(0.03):
                replies = await asyncio.gather(*(batcher.call(packed(ECHO, str(k))) for k in range(2)))
            waited_s = time.monotonic() - began_s

            assert words(replies) == ["0", "1"]
            assert waited_s > 2 * 0.15
            assert (batcher.late, batcher.era) == (0, 1)


@on_loop
async def test_time_in_which_this_process_did_not_run_is_not_the_stores(server: EmbeddedStore, cli: RedisCli) -> None:
    """The store is silent all the while, and answers only after this process has run again for a moment."""
    async with opened_batcher(server.url, SCRIPTS, patience=Patience(300, 500)) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        with paused(cli):
            call = batcher.call(packed(ECHO, "patient"), packed(ECHO, "sent again"))
            await eventually(lambda: len(batcher._in_flight) == 1)
            for _ in range(3):
                block(0.6)
                await asyncio.sleep(0.01)

        assert words([await call]) == ["patient"]
        assert batcher.late == 0


@pytest.mark.parametrize("has_standby", [False, True])
@on_loop
async def test_store_that_stays_slow_is_left_where_another_takes_over(
    server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, has_standby: bool
) -> None:
    monkeypatch.setattr("shared_state.connection.patience.SLOW_SECONDS", 1)
    patience = Patience(20, 10_000, has_standby)
    with running_store_proxy(server) as proxy:
        async with opened_batcher(proxy.url, SCRIPTS, patience=patience) as batcher:
            await batcher.call(packed(ECHO, "warm"))
            ends_s, lost = time.monotonic() + 2.5, ""
            with proxy.dribbling(0.005):
                while time.monotonic() < ends_s and not lost:
                    try:
                        await batcher.call(packed(ECHO, "slow"), is_urgent=True)
                    except StoreTimeout as error:
                        lost = str(error)

            assert lost == ("the store's decisions take longer than 20 ms" if has_standby else "")
            assert words([await batcher.call(packed(ECHO, "after"))]) == ["after"]


@on_loop
async def test_silent_store_is_lost_for_all_calls_at_once(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_batcher(server.url, SCRIPTS, patience=Patience(100, 400)) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        began_s = time.monotonic()
        with paused(cli):
            early = batcher.call(packed(ECHO, "early"))
            await eventually(lambda: batcher.late == 1)  # sent again on a new connection
            late = batcher.call(packed(ECHO, "late"))
            with pytest.raises(StoreTimeout, match=r"the store was silent for 0\.4 s"):
                await early
        waited_s = time.monotonic() - began_s

        assert 0.4 <= waited_s < 0.8
        assert isinstance(late.exception(), StoreTimeout)


# -- closing ----------------------------------------------------------------------------------------------------


@on_loop
async def test_close_sends_what_is_queued(server: EmbeddedStore, cli: RedisCli) -> None:
    key = fresh_domain()
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        for k in range(10):
            batcher.call(packed(PUSH, str(k), key))

    assert pushed(cli, key) == [str(k) for k in range(10)]


@on_loop
async def test_close_sends_what_a_reply_brings_up(server: EmbeddedStore, cli: RedisCli) -> None:
    key = fresh_domain()
    async with opened_batcher(server.url, SCRIPTS) as batcher:

        def give_back(_reply: Reply) -> None:
            batcher.call(packed(PUSH, "given back", key))

        batcher.call(packed(ECHO, "grant"), orphaned=give_back).cancel()

    assert pushed(cli, key) == ["given back"]


@on_loop
async def test_closed_batcher_accepts_no_acquire(server: EmbeddedStore, cli: RedisCli) -> None:
    """Its grant would belong to nobody; what ends calls is still sent."""
    key = fresh_domain()
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        await batcher.call(packed(ECHO, "warm"))
        with paused(cli):
            batcher.call(packed(ECHO, "in flight"))
            closing = asyncio.create_task(batcher.close())
            await asyncio.sleep(0)
            acquire = batcher.call(packed(PUSH, "acquire", key), is_urgent=True)
            settle = batcher.call(packed(PUSH, "settle", key))
        with pytest.raises(StoreUnavailable):
            await acquire
        await settle
        await closing

    assert pushed(cli, key) == ["settle"]


@on_loop
async def test_call_after_close_is_refused(server: EmbeddedStore) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        await batcher.call(packed(ECHO, "warm"))

    with pytest.raises(StoreUnavailable):
        await batcher.call(packed(ECHO, "late"))


@on_loop
async def test_close_of_an_unused_batcher_returns(server: EmbeddedStore) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        assert batcher.round_trips == 0


@on_loop
async def test_close_gives_the_connection_back(server: EmbeddedStore, cli: RedisCli) -> None:
    async with opened_batcher(server.url, SCRIPTS) as batcher:
        await batcher.call(packed(ECHO, "warm"))

    await eventually(lambda: cli.do("CLIENT", "LIST", "TYPE", "normal").count(b"id=") == 1)
