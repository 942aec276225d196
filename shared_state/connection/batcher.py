"""Pipelining on one connection, without a timer. Urgent calls (acquire) go out in the same turn of the event loop, so
that none waits for the reply of another; the rest (settle) goes along with them or, group commit, once nothing is in
flight.

The batcher owns the connection and request tasks only await futures: a cancelled request can never leave a reply
behind that the next request would take for its own.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from shared_state.background import once
from shared_state.connection.client import MOVED_ON, Client, command, pack
from shared_state.connection.patience import TICK_S, Pace, Patience, PatienceClock
from shared_state.errors import ScriptFailed, StateError, StoreRefuses, StoreTimeout, StoreUnavailable
from shared_state.histogram import Histogram
from shared_state.scripts import Script

IN_FLIGHT_MOST = 64  # calls, without the settles that go along: a few ms of the store's time
# Turns of the event loop granted after the time is over: a reply that already waits in the socket is not late because
# this process was busy.
GRACE_TURNS = 8
SCRIPT_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
SENDINGS_MOST = 6  # of one call: each further one on a new connection
ATTEMPTS_ALONE = 3  # to connect, one right after the other, where no standby store takes over
LOADS_MOST = 3  # times that one call may find the store without its script
REDIRECTS_MOST = 1  # times that one call may find that the topology has moved on

Reply = list[object]
Orphaned = Callable[[Reply], None]
Lost = Callable[[bool], None]


class Call:
    """One script call. ``again`` is what to send when the first sending may have been carried out; ``orphaned``
    gets the reply of a call whose caller was cancelled meanwhile, because a grant must not be lost; ``lost`` is told
    when there will be no reply, and whether the call was sent: then it may have been carried out. ``has_era``: its last
    argument, which is not in ``packed``, is the number of the connection that it goes out on. ``asked_at``: by the
    clock of patience.
    """

    __slots__ = (
        "again",
        "asked_at",
        "future",
        "has_era",
        "is_urgent",
        "loads",
        "lost",
        "orphaned",
        "packed",
        "redirects",
        "sendings",
        "sent_at",
    )

    def __init__(
        self,
        packed: bytes,
        again: bytes,
        orphaned: Orphaned | None,
        lost: Lost | None,
        has_era: bool,
        is_urgent: bool,
        asked_at: float,
        future: asyncio.Future[Reply],
    ) -> None:
        self.packed = packed
        self.again = again
        self.orphaned = orphaned
        self.lost = lost
        self.has_era = has_era
        self.is_urgent = is_urgent
        self.asked_at = asked_at
        self.future = future
        self.sendings = 0
        self.loads = 0
        self.redirects = 0
        self.sent_at = 0.0

    @property
    def sha(self) -> bytes:
        """Of its script: a call is an EVALSHA."""
        return self.packed.split(b"\r\n", 5)[4]

    def resolve(self, reply: object) -> None:
        if self.future.done():
            if self.orphaned is not None and isinstance(reply, list):
                self.orphaned(reply)
        elif isinstance(reply, list):
            self.future.set_result(reply)
        else:
            self.fail(reply if isinstance(reply, StateError) else ScriptFailed(f"not a script's reply: {reply!r}"))

    def fail(self, error: StateError) -> None:
        if self.lost is not None and isinstance(error, StoreUnavailable):
            self.lost(self.sendings > 0)
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # a settle that nobody awaits is not an error of the event loop's


class Batcher:
    """Sends script calls to one store. ``round_trips`` counts pipelines sent, ``era`` connections made, ``late``
    silences of a deadline or more; ``latencies``: by script, from sending to reply.

    What has no reply when the connection breaks, or when nothing has come for the deadline, is sent again on a new one:
    every script is idempotent by its token. While bytes come, a late reply is only waited for, because replies come in
    order. A store from which nothing comes for ``lost_after`` is lost: all that waits fails at once.
    """

    def __init__(self, client: Client, scripts: Iterable[Script], patience: Patience) -> None:
        self._client = client
        self._patience = patience
        self._scripts = tuple(scripts)
        self._deadline_s, self._lost_after_s = patience.deadline_ms / 1000, patience.lost_after_ms / 1000
        self._clock = PatienceClock(min(TICK_S, self._deadline_s / 4), self._tick)
        self._pace = Pace(self._deadline_s)
        self._heard_at = 0.0
        self._is_looking = False
        self._took_s = 0.0
        self._urgent: deque[Call] = deque()
        self._later: deque[Call] = deque()
        self._in_flight: deque[Call | Script] = deque()
        self._loop = asyncio.get_running_loop()
        self._forgotten: list[Call] = []
        self._moved: list[Call] = []
        self._refusals = 0
        self._is_push_due = self._is_load_due = False
        self._is_closing = self._is_closed = False
        self._load_error = ""
        self._connecting: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.round_trips = self.late = 0
        self.latencies = {script.name: Histogram(SCRIPT_S) for script in self._scripts}
        self._by_sha = {script.sha.encode(): self.latencies[script.name] for script in self._scripts}
        self.era = 0

    async def close(self) -> None:
        """Sends what is still queued, and what comes up while doing so (grants to give back, but no acquires), then
        gives the connection back.
        """
        self._is_closing = True
        while not self._idle.is_set():
            await self._idle.wait()
        self._is_closed = True
        self._clock.stop()
        if self._connecting:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        self._client.close()

    @property
    def is_slow(self) -> bool:
        """The last reply took longer than the deadline."""
        return self._took_s > self._deadline_s

    def call(
        self,
        packed: bytes,
        again: bytes | None = None,
        orphaned: Orphaned | None = None,
        lost: Lost | None = None,
        is_urgent: bool = False,
        has_era: bool = False,
    ) -> asyncio.Future[Reply]:
        """Queues a call; urgent ones (acquire) go before the rest (settle). The future raises StateError."""
        self._clock.run()
        future = self._loop.create_future()
        call = Call(packed, again or packed, orphaned, lost, has_era, is_urgent, self._clock.now(), future)
        if self._is_closed or (self._is_closing and is_urgent):
            call.fail(StoreUnavailable("the connection to the store is closed"))
            return call.future
        (self._urgent if is_urgent else self._later).append(call)
        self._idle.clear()
        if not self._is_push_due:
            self._is_push_due = True
            self._loop.call_soon(self._turn)
        return call.future

    def _turn(self) -> None:
        self._is_push_due = False
        self._push()

    def hurry(self) -> None:
        """Sends at once what would go out at the end of this turn, unless something is in flight already: then what
        comes up in the same turn may go along.
        """
        if not self._in_flight:
            self._push()

    def _push(self) -> None:
        """Sends what may go out now."""
        urgent, later, in_flight = self._urgent, self._later, self._in_flight
        if not (urgent or (later and not in_flight)):
            return
        if not self._client.is_connected:
            if not self._connecting:
                self._connecting = once("store connection", self._connect())
            return
        room = IN_FLIGHT_MOST - len(in_flight)
        batch = [urgent.popleft() for _ in range(min(room, len(urgent)))]
        # Each acquire takes a settle along, beyond the room: without a free moment none would go out, and requests that
        # have ended would count as active.
        batch += [later.popleft() for _ in range(min(max(room - len(batch), len(batch)), len(later)))]
        if batch:
            self._send(batch)

    def _send(self, batch: list[Call]) -> None:
        if self._is_load_due:
            # Where a store knows only some of them, calls would overtake those that have to wait for their script.
            self._is_load_due = False
            self._load()
        now = self._loop.time()
        for call in batch:
            call.sent_at = now
        self.round_trips += 1
        era = pack(b"%d" % self.era)
        self._client.send(
            [(call.again if call.sendings else call.packed) + (era if call.has_era else b"") for call in batch]
        )
        for call in batch:
            call.sendings += 1
        self._in_flight.extend(batch)

    # -- replies ----------------------------------------------------------------------------------------------

    def _on_reply(self, reply: object) -> None:
        if not self._in_flight:
            self._client.close()
            self._on_lost(StoreUnavailable(f"the store sends what it was not asked for: {reply!r:.100}"))
            return
        call = self._in_flight.popleft()
        if isinstance(call, Script):
            if reply != call.sha.encode():
                self._load_error = f"the store did not load {call.name}: {reply}"
        elif isinstance(reply, ScriptFailed) and str(reply).startswith("NOSCRIPT"):
            self._forgot(call)
        elif isinstance(reply, StoreRefuses) and str(reply).startswith(MOVED_ON) and call.redirects < REDIRECTS_MOST:
            call.redirects += 1
            call.sendings -= 1
            self._moved.append(call)
        else:
            taken = self._by_sha.get(call.sha)
            if taken is not None:
                taken.observe(self._loop.time() - call.sent_at)
            self._took_s = self._clock.now() - call.asked_at
            if call.is_urgent:
                self._pace.note(self._took_s)
            call.resolve(reply)

    def _forgot(self, call: Call) -> None:
        """The store does not know the script: the call, which was not carried out, goes out again behind its load."""
        call.loads += 1
        if call.loads > LOADS_MOST:
            call.fail(ScriptFailed(self._load_error or "the store forgets its scripts as soon as they are loaded"))
        else:
            call.sendings -= 1
            self._forgotten.append(call)

    def _load_again(self) -> None:
        calls, self._forgotten = self._forgotten, []
        if not any(isinstance(other, Script) for other in self._in_flight):
            self._load()
        self._send(calls)

    def _load(self) -> None:
        self._load_error = ""
        self._client.send([command(b"SCRIPT", b"LOAD", script.text.encode()) for script in self._scripts])
        self._in_flight.extend(self._scripts)

    def _on_heard(self) -> None:
        self._heard_at = self._clock.now()
        self._on_pause()

    def _on_pause(self) -> None:
        if self._moved:
            self._client.close()
            self._on_lost(StoreUnavailable("the topology has moved on"))
            return
        if self._forgotten:
            self._load_again()
        if self._urgent or (self._later and not self._in_flight):
            self._push()
        if not (self._in_flight or self._urgent or self._later):
            self._idle.set()

    # -- trouble ----------------------------------------------------------------------------------------------

    def _tick(self) -> bool:
        """Has anything waited for too long? Until nothing waits."""
        if not (self._in_flight or self._urgent or self._later):
            return False
        self._pace.see(self._loop.time())
        if self._overdue() and not self._is_looking:
            self._is_looking = True
            self._loop.call_soon(self._look, GRACE_TURNS)
        return True

    def _look(self, turns: int) -> None:
        """Acts on what is overdue once all that has arrived meanwhile is read."""
        overdue = self._overdue()
        if overdue and turns:
            self._loop.call_soon(self._look, turns - 1)
            return
        self._is_looking = False
        if overdue:
            error, is_lost = overdue
            self.late += 1
            self._client.close()
            if is_lost:
                self._fail_all(error)
            else:
                self._on_lost(error)

    def _overdue(self) -> tuple[StoreTimeout, bool] | None:
        """The error for the oldest call, and whether the store is lost or only its connection."""
        sent = next((call for call in self._in_flight if isinstance(call, Call)), None)
        oldest = sent or (self._urgent or self._later or (None,))[0]
        if oldest is None:
            return None
        now_s, lost_after_s = self._clock.now(), self._lost_after_s
        silent_s = now_s - max(self._heard_at, oldest.asked_at)
        if silent_s >= lost_after_s:
            return StoreTimeout(f"nothing came from the store for {lost_after_s:g} s"), True
        if oldest.is_urgent and now_s - oldest.asked_at >= lost_after_s:
            return StoreTimeout(f"the store did not decide within {lost_after_s:g} s"), True
        if self._patience.has_standby and self._pace.is_slow:
            return StoreTimeout(f"the store's decisions take longer than {self._patience.deadline_ms} ms"), True
        if sent is not None and sent.sendings == 1 and silent_s >= self._deadline_s:
            return StoreTimeout("the store missed its deadline"), False
        return None

    def _fail_all(self, error: StateError) -> None:
        calls = [*self._moved, *self._forgotten, *(call for call in self._in_flight if isinstance(call, Call))]
        for pending in (self._moved, self._forgotten, self._in_flight):
            pending.clear()
        self._pace.forget()
        for call in calls:
            call.fail(error)
        self._fail_queued(error)
        self._on_pause()

    def _on_lost(self, error: StateError) -> None:
        """What was in flight goes out again, first and in its order, on a new connection."""
        calls = [*self._moved, *self._forgotten, *(call for call in self._in_flight if isinstance(call, Call))]
        self._moved.clear()
        self._forgotten.clear()
        self._in_flight.clear()
        self._urgent.extendleft(reversed([call for call in calls if call.sendings < SENDINGS_MOST]))
        for call in calls:
            if call.sendings >= SENDINGS_MOST:
                call.fail(error)
        if self._later or self._urgent:
            self._push()
        else:
            self._idle.set()

    async def _connect(self) -> None:
        """Calls wait in their queue meanwhile, but not for longer than they can."""
        try:
            await self._client.connect(self._on_reply, self._on_heard, self._on_lost)
            self.era += 1
            self._refusals = 0
            self._is_load_due = True
        except StoreUnavailable as error:
            self._refused(error)
        except BaseException as error:
            self._fail_queued(StoreUnavailable(f"no connection to the store: {type(error).__name__}"))
            raise
        finally:
            self._connecting = None
            self._on_pause()

    def _refused(self, error: StateError) -> None:
        self._refusals += 1
        if self._patience.has_standby or self._refusals >= ATTEMPTS_ALONE:
            self._refusals = 0
            self._fail_queued(error)

    def _fail_queued(self, error: StateError) -> None:
        for queue in (self._urgent, self._later):
            while queue:
                queue.popleft().fail(error)
