"""Store processes for tests, a redis-cli to look into them, and ways to wait for what they do."""

import asyncio
import contextlib
import functools
import itertools
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, ParamSpec, Self

import redis
import uvloop

from shared_state.embedded import EmbeddedStore
from shared_state.scripts import Script, libraries
from tests.support.programs import program

SERVERS = ("valkey", "redis")  # every script must run on both
FORMS = ("library", "script")  # and in both of its forms
PATIENCE_S = 10.0
_P = ParamSpec("_P")
_domains = itertools.count(1)


def running_server(kind: str) -> Iterator[EmbeddedStore]:
    """One store process. ``kind`` is one of SERVERS. Skips the test where there is no Redis."""
    store = EmbeddedStore(binary=None if kind == "valkey" else program("redis-server"))
    asyncio.run(store.start())
    try:
        yield store
    finally:
        store.stop()


@contextlib.contextmanager
def stopped(store: EmbeddedStore) -> Iterator[None]:
    """Takes connections and never answers, as a store does that is swapped out or gone behind a broken network."""
    os.kill(store.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(store.pid, signal.SIGCONT)


@contextlib.contextmanager
def unreachable(store: EmbeddedStore) -> Iterator[None]:
    """Every connection is cut and none can be made; what is sent meanwhile is never carried out."""
    away = store.socket.with_suffix(".away")
    store.socket.rename(away)
    try:
        with RedisCli(f"unix://{away}") as cli:
            cli.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        yield
    finally:
        away.rename(store.socket)


class RedisCli:
    """Any command, and its reply as redis-py gives it: bytes, numbers, lists; a dict for a hash. ``form``: one of
    FORMS, in which it loads and calls scripts.
    """

    def __init__(self, url: str, form: str = "library") -> None:
        self.form = form
        self._redis: Any = redis.Redis.from_url(url, protocol=2, socket_timeout=PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._redis.close()

    def do(self, *words: Any) -> Any:
        return self._redis.execute_command(*words)

    def load(self, scripts: Iterable[Script]) -> None:
        if self.form == "script":
            for script in scripts:
                self._redis.execute_command("SCRIPT", "LOAD", script.text)
        else:
            for library in libraries(scripts):
                self._redis.execute_command("FUNCTION", "LOAD", "REPLACE", library.text)

    def head(self, script: Script, read_only: bool = False) -> tuple[str, str]:
        """The first two words of a call."""
        command, name = ("EVALSHA", script.sha) if self.form == "script" else ("FCALL", script.function)
        return (f"{command}_RO" if read_only else command), name

    def do_all(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        """In one round trip."""
        pipeline = self._redis.pipeline(transaction=False)
        for words in commands:
            pipeline.execute_command(*words)
        replies: list[Any] = pipeline.execute()
        return replies


class RedisQueue(RedisCli):
    """Saves round trips: a HSET, and what is held, goes out with the command that follows; nobody sees its reply."""

    def __init__(self, url: str, form: str = "library") -> None:
        super().__init__(url, form)
        self._held: list[tuple[Any, ...]] = []

    def hold(self, *words: Any) -> None:
        self._held.append(words)

    def do(self, *words: Any) -> Any:
        self.hold(*words)
        return None if words[0] == "HSET" else self.do_all(())[-1]

    def do_all(self, commands: Iterable[tuple[Any, ...]]) -> list[Any]:
        held, self._held = self._held, []
        return super().do_all([*held, *commands])


def fresh_domain() -> str:
    """No two tests share a key, in whatever process they run."""
    return f"test-{os.getpid()}-{next(_domains)}"


def wait_until(is_so: Callable[[], bool], describe: Callable[[], str] = lambda: "") -> None:
    ends_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < ends_s, f"still not so after {PATIENCE_S} s {describe()}"
        time.sleep(0.005)


async def eventually(is_so: Callable[[], bool], describe: Callable[[], str] = lambda: "") -> None:
    """As `wait_until`, while the event loop runs."""
    ends_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < ends_s, f"still not so after {PATIENCE_S} s {describe()}"
        await asyncio.sleep(0.005)


def on_loop(test: Callable[_P, Coroutine[Any, Any, None]]) -> Callable[_P, None]:
    """Runs a coroutine as a test, on the event loop that the gateway runs on."""

    @functools.wraps(test)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(asyncio.wait_for(test(*args, **kwargs), 3 * PATIENCE_S))

    return run
