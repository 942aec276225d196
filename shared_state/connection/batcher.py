"""Pipelines script calls on one connection, without a timer. Urgent calls (acquire) go out in the same turn of the
event loop, so that none waits for the reply of another. The rest (settle) goes along with them or, as a group commit,
once nothing is in flight.

The batcher owns the connection, and request tasks only await futures. A cancelled request therefore never leaves a
reply behind that the next request would take for its own.
"""

import asyncio
from collections import deque
from collections.abc import Iterable

from shared_state.background import once
from shared_state.connection.call import Call, Lost, Orphaned, Repack, Reply
from shared_state.connection.client import Client
from shared_state.connection.commands import pack
from shared_state.connection.link import MOVED_ON
from shared_state.connection.loading import Loaded, Loader
from shared_state.connection.patience import TICK_S, Pace, Patience, PatienceClock, overdue
from shared_state.errors import ScriptFailed, StateError, StoreRefuses, StoreUnavailable
from shared_state.histogram import Histogram
from shared_state.scripts import Library, Script

IN_FLIGHT_MOST = 64  # calls, not counting the settles that go along: a few ms of the store's time
# Turns of the event loop to wait after a deadline: a reply that already lies in the socket is not late because this
# process was busy.
GRACE_TURNS = 8
SCRIPT_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
SENDINGS_MOST = 6  # of one call, each after the first on a new connection
ATTEMPTS_ALONE = 3  # to connect, without a pause between, where no standby store takes over
LOADS_MOST = 3  # times that one call may find the store without its script
REDIRECTS_MOST = 1  # times that one call may find that the topology has changed


class Batcher:
    """Sends script calls to one store.

    A call without a reply is sent again on a new connection when the connection breaks, or when nothing has arrived for
    the deadline: every script is idempotent by its token. While bytes arrive, a late reply is only waited for, because
    replies come in order. A store that is silent for ``lost_after`` is lost: every waiting call fails at once.
    """

    def __init__(self, client: Client, scripts: Iterable[Script], patience: Patience) -> None:
        self._client = client
        self._patience = patience
        self._loader = Loader(scripts)
        self._deadline_s = deadline_s = patience.deadline_ms / 1000
        self._clock, self._pace = PatienceClock(min(TICK_S, deadline_s / 4), self._tick), Pace(deadline_s)
        self._received_at = 0.0  # the last bytes, by the clock of patience
        self._is_checking, self._took_s = False, 0.0
        self.execute = client.execute  # of other commands, on a connection of their own
        self._urgent: deque[Call] = deque()
        self._later: deque[Call] = deque()
        self._in_flight: deque[Call | Loaded] = deque()
        self._loop = asyncio.get_running_loop()
        self._unloaded: list[Call] = []  # the store does not know their script
        self._redirected: list[Call] = []  # the server no longer takes them
        self._refusals = 0  # attempts to connect that failed in a row
        self._is_push_due = self._is_load_due = self._is_closing = self._is_closed = False
        self._connecting: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.round_trips = 0  # pipelines sent
        self.late = 0  # deadlines that passed without any bytes
        self.latencies = {name: Histogram(SCRIPT_S) for name in self._loader.names.values()}  # from sending to reply
        self._by_function = {function: self.latencies[name] for function, name in self._loader.names.items()}
        self.era = 0  # connections made

    async def close(self) -> None:
        """Sends the queued calls and those that follow from their replies (grants to return, but no acquires), then
        closes the connection.
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
        """Whether the last reply took longer than the deadline."""
        return self._took_s > self._deadline_s

    def call(
        self,
        packed: bytes,
        again: bytes | None = None,
        orphaned: Orphaned | None = None,
        lost: Lost | None = None,
        is_urgent: bool = False,
        has_era: bool = False,
        repack: Repack | None = None,
    ) -> asyncio.Future[Reply]:
        """Queues a call; urgent ones (acquire) go before the rest (settle). ``repack``: packs the request when it is
        sent, as others may overtake it. The future raises StateError."""
        self._clock.run()
        call = Call(packed, again or packed, orphaned, lost, has_era, is_urgent, self._loop.create_future())
        call.repack, call.queued_at = repack, self._clock.now()
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

    def flush(self) -> None:
        """Sends now. While calls are in flight the queued ones wait, so that those of this turn go out together."""
        if not self._in_flight:
            self._push()

    def _push(self) -> None:
        """Sends the calls that may go out now."""
        urgent, later, in_flight = self._urgent, self._later, self._in_flight
        if not (urgent or (later and not in_flight)):
            return
        if not self._client.is_connected:
            if not self._connecting:
                self._connecting = once("store connection", self._connect())
            return
        room = IN_FLIGHT_MOST - len(in_flight)
        batch = [urgent.popleft() for _ in range(min(room, len(urgent)))]
        # Each acquire takes a settle along, beyond the room: under constant load settles would otherwise never go out,
        # and requests that have ended would count as active.
        batch += [later.popleft() for _ in range(min(max(room - len(batch), len(batch)), len(later)))]
        if batch:
            self._send(batch)

    def _send(self, batch: list[Call]) -> None:
        if self._is_load_due:
            # All scripts at once: if the store knew only some, other calls would overtake those that wait for a script.
            self._is_load_due = False
            self._load()
        now = self._loop.time()
        for call in batch:
            call.sent_at = now
        self.round_trips += 1
        era, form = pack(b"%d" % self.era), self._loader.form
        self._client.send([form(call.request) + (era if call.has_era else b"") for call in batch])
        for call in batch:
            call.sendings += 1
        self._in_flight.extend(batch)

    # -- replies ----------------------------------------------------------------------------------------------

    def _on_reply(self, reply: object) -> None:
        if not self._in_flight:
            self._client.close()
            self._on_lost(StoreUnavailable(f"the store sent a reply without a request: {reply!r:.100}"))
            return
        call = self._in_flight.popleft()
        if isinstance(call, Library | Script):
            self._loader.note(call, reply)
        elif self._loader.is_unknown(reply):
            self._load_and_resend(call)
        elif isinstance(reply, StoreRefuses) and str(reply).startswith(MOVED_ON) and call.redirects < REDIRECTS_MOST:
            call.redirects += 1
            call.sendings -= 1
            self._redirected.append(call)
        else:
            latencies = self._by_function.get(call.function)
            if latencies is not None:
                latencies.observe(self._loop.time() - call.sent_at)
            self._took_s = self._clock.now() - call.queued_at
            if call.is_urgent:
                self._pace.note(self._took_s)
            call.resolve(reply)

    def _load_and_resend(self, call: Call) -> None:
        """Sends a call again whose script the store does not know, after loading the scripts."""
        call.loads += 1
        if call.loads > LOADS_MOST:
            call.fail(ScriptFailed(self._loader.error or "the store drops its scripts as soon as they are loaded"))
        else:
            call.sendings -= 1
            self._unloaded.append(call)

    def _load_again(self) -> None:
        calls, self._unloaded = self._unloaded, []
        if not self._loader.is_loading(self._in_flight):
            self._load()
        self._send(calls)

    def _load(self) -> None:
        commands, loaded = self._loader.load()
        self._client.send(commands)
        self._in_flight.extend(loaded)

    def _on_received(self) -> None:
        self._received_at = self._clock.now()
        self._on_pause()

    def _on_pause(self) -> None:
        if self._redirected:
            self._client.close()
            self._on_lost(StoreUnavailable("the topology has changed"))
            return
        if self._unloaded:
            self._load_again()
        if self._urgent or (self._later and not self._in_flight):
            self._push()
        if not (self._in_flight or self._urgent or self._later):
            self._idle.set()

    # -- trouble ----------------------------------------------------------------------------------------------

    def _tick(self) -> bool:
        """Checks for overdue calls; returns False, which stops the clock, when no call waits."""
        if not (self._in_flight or self._urgent or self._later):
            return False
        self._pace.end_second(self._loop.time())
        if self._overdue() and not self._is_checking:
            self._is_checking = True
            self._loop.call_soon(self._check_overdue, GRACE_TURNS)
        return True

    def _check_overdue(self, turns: int) -> None:
        """Reacts to an overdue call once all bytes that arrived meanwhile are read."""
        verdict = self._overdue()
        if verdict and turns:
            self._loop.call_soon(self._check_overdue, turns - 1)
            return
        self._is_checking = False
        if verdict:
            error, is_lost = verdict
            self.late += 1
            self._client.close()
            if is_lost:
                self._fail_all(error)
            else:
                self._on_lost(error)

    def _overdue(self) -> tuple[StateError, bool] | None:
        sent = next((call for call in self._in_flight if isinstance(call, Call)), None)
        queued = (self._urgent or self._later or (None,))[0]
        is_slow = self._patience.has_standby and self._pace.is_slow
        return overdue(self._patience, self._clock.now(), self._received_at, sent, queued, is_slow)

    def _fail_all(self, error: StateError) -> None:
        calls = [*self._redirected, *self._unloaded, *(call for call in self._in_flight if isinstance(call, Call))]
        for pending in (self._redirected, self._unloaded, self._in_flight):
            pending.clear()
        self._pace.reset()
        for call in calls:
            call.fail(error)
        self._fail_queued(error)
        self._on_pause()

    def _on_lost(self, error: StateError) -> None:
        """Sends the calls in flight again, first and in their order, on a new connection."""
        calls = [*self._redirected, *self._unloaded, *(call for call in self._in_flight if isinstance(call, Call))]
        self._redirected.clear()
        self._unloaded.clear()
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
        """Opens the connection; calls wait in their queue meanwhile, and fail as overdue like any other."""
        try:
            await self._client.connect(self._on_reply, self._on_received, self._on_lost)
            self.era += 1
            self._refusals = 0
            self._is_load_due = True
            self._loader.begin()
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
