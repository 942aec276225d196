"""Group commit on one connection: whatever is queued while a flush is in flight goes out in the next one, without a
timer, so a quiet gateway pays no delay and a busy one few system calls.

The batcher owns the connection and request tasks only await futures: a cancelled request can never leave a reply
behind that the next request would take for its own.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from shared_state.client import Client, command
from shared_state.errors import ScriptFailed, StateError, StoreTimeout, StoreUnavailable
from shared_state.scripts import Script

FLUSH_MOST = 256  # calls in one pipeline: about 10 ms of the store's time
# Turns of the event loop granted after the deadline: a reply that already waits in the socket is not late because
# this process was busy.
GRACE_TURNS = 8
# Deadlines of the first sending and of the two after it, as multiples of the setting: a store that hiccups costs a
# request milliseconds, one that is gone well under a second.
PATIENCE = (1, 4, 16)

Reply = list[object]
Orphaned = Callable[[Reply], None]


class Call:
    """One script call. ``again`` is what to send when the first sending may have been carried out; ``orphaned``
    gets the reply of a call whose caller was cancelled meanwhile, because a grant must not be lost.
    """

    __slots__ = ("again", "future", "orphaned", "packed")

    def __init__(self, packed: bytes, again: bytes, orphaned: Orphaned | None, future: asyncio.Future[Reply]) -> None:
        self.packed = packed
        self.again = again
        self.orphaned = orphaned
        self.future = future

    def resolve(self, reply: object) -> None:
        if self.future.done():
            if self.orphaned is not None and isinstance(reply, list):
                self.orphaned(reply)
        elif isinstance(reply, list):
            self.future.set_result(reply)
        else:
            self.fail(reply if isinstance(reply, StateError) else ScriptFailed(f"not a script's reply: {reply!r}"))

    def fail(self, error: StateError) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # a settle that nobody awaits is not an error of the event loop's


class Deadline:
    """Bounds one flush, by the time the store takes and not by the time this process is busy."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._timeout = asyncio.timeout(None)
        self._handle: asyncio.Handle = loop.call_later(seconds, self._pass, GRACE_TURNS)

    def _pass(self, turns: int) -> None:
        if turns:
            self._handle = self._loop.call_soon(self._pass, turns - 1)
        else:
            self._timeout.reschedule(self._loop.time())

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        self._handle.cancel()
        await self._timeout.__aexit__(*raised)


class Batcher:
    """Sends script calls to one store. ``round_trips`` counts pipelines sent."""

    def __init__(self, client: Client, scripts: Iterable[Script], deadline_ms: int) -> None:
        self._client = client
        self._scripts = tuple(scripts)
        self._deadline_s = deadline_ms / 1000
        self._urgent: deque[Call] = deque()
        self._later: deque[Call] = deque()
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._is_closing = False
        self._task = self._loop.create_task(self._run(), name="batcher")
        self.round_trips = 0

    async def close(self) -> None:
        """Sends what is still queued, and what comes up while doing so (grants to give back), then gives the connection
        back.
        """
        self._is_closing = True
        self._wake.set()
        await self._task
        await self._client.close()

    def call(
        self,
        packed: bytes,
        again: bytes | None = None,
        orphaned: Orphaned | None = None,
        is_urgent: bool = False,
    ) -> asyncio.Future[Reply]:
        """Queues a call; urgent ones (acquire) go before the rest (settle). The future raises StateError."""
        call = Call(packed, again or packed, orphaned, self._loop.create_future())
        if self._task.done():
            call.fail(StoreUnavailable("the connection to the store is closed"))
            return call.future
        (self._urgent if is_urgent else self._later).append(call)
        self._wake.set()
        return call.future

    async def _run(self) -> None:
        while not self._is_closing or self._urgent or self._later:
            await self._wake.wait()
            self._wake.clear()
            while self._urgent or self._later:
                await self._flush(self._take())

    def _take(self) -> deque[Call]:
        batch: deque[Call] = deque()
        for queue in (self._urgent, self._later):
            while queue and len(batch) < FLUSH_MOST:
                batch.append(queue.popleft())
        return batch

    async def _flush(self, pending: deque[Call]) -> None:
        """Answers every call. What has no reply when the deadline passes or the connection breaks is sent again: every
        script is idempotent by its token.
        """
        error: StateError = StoreUnavailable("never tried")
        for patience in PATIENCE:
            try:
                if not self._client.is_connected:
                    await self._connect()
                async with Deadline(self._loop, self._deadline_s * patience):
                    await self._exchange(pending, is_again=patience > PATIENCE[0])
                return
            except TimeoutError:
                await self._client.close()
                error = StoreTimeout("the store missed its deadline")
            except StoreUnavailable as unavailable:
                error = unavailable
            except StateError as failed:
                error = failed
                break
        for call in pending:
            call.fail(error)

    async def _exchange(self, pending: deque[Call], is_again: bool) -> None:
        """Sends all, then takes one reply each, in order. A call stays in `pending` until it is answered, also one that
        found no script.
        """
        for _ in range(2):
            self.round_trips += 1
            await self._client.send([call.again if is_again else call.packed for call in pending])
            for _ in range(len(pending)):
                reply = await self._client.receive()
                call = pending.popleft()
                if isinstance(reply, ScriptFailed) and str(reply).startswith("NOSCRIPT"):
                    pending.append(call)
                else:
                    call.resolve(reply)
            if not pending:
                return
            await self._load()
        raise ScriptFailed("the store forgets its scripts as soon as they are loaded")

    async def _connect(self) -> None:
        patience_s = self._deadline_s * PATIENCE[-1]
        await self._client.connect(patience_s)
        try:
            async with asyncio.timeout(patience_s):
                await self._load()
        except TimeoutError as error:
            await self._client.close()
            raise StoreTimeout("the store does not load scripts") from error

    async def _load(self) -> None:
        await self._client.send([command(b"SCRIPT", b"LOAD", script.text.encode()) for script in self._scripts])
        for script in self._scripts:
            loaded = await self._client.receive()
            if loaded != script.sha.encode():
                await self._client.close()
                raise ScriptFailed(f"the store did not load {script.name}: {loaded}")
