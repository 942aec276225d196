"""The live feed: the state of the cluster once a second, read once for all listeners, and new events.

Without listeners the store is not read.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from gateway.configuration.settings import Settings
from gateway.errors import RateLimited
from gateway.views import event_pages
from gateway.views.event_pages import place
from shared_state.background import Kept
from shared_state.errors import StateError
from shared_state.failover import Failover
from shared_state.snapshots import DeploymentSnapshot, Event

EVERY_S = 1.0
TAKE_MOST_S = 2.0
LISTENERS_MOST = 50  # of one replica: each costs a connection and a few kilobytes a second
EVENTS_KEPT, EVENTS_SHOWN, EVENTS_PAGE = 200, 50, 100
# The fields of a deployment that a frame holds unless they are zero or empty.
_ROW = (
    *("health_score", "active", "limit", "requests", "failures", "slow", "avg_ms", "p50_ms", "p95_ms", "p99_ms"),
    *("wait_ms", "open_reason", "trips", "generation", "oldest_ms", "histogram", "region", "rtt_ms"),
    *("unsupported", "last_error", "last_error_at_ms", "cache_hit"),
)


class ModelShown(msgspec.Struct, frozen=True):
    name: str
    deployments: tuple[str, ...]
    fallbacks: tuple[str, ...] = ()


def models_shown(settings: Settings) -> tuple[ModelShown, ...]:
    """Returns the models that have enabled deployments, in the order of the configuration."""
    deployments = [entry for entry in settings.model_list if entry.enabled]
    return tuple(
        ModelShown(
            name, tuple(d.id for d in deployments if d.model_name == name), settings.router.fallbacks.get(name, ())
        )
        for name in dict.fromkeys(entry.model_name for entry in deployments)
    )


class Frame:
    """The state at one moment. ``events``: the events since the previous frame; ``number`` counts up by one."""

    def __init__(
        self, number: int, head: dict[str, object], rows: dict[str, DeploymentSnapshot], events: list[Event]
    ) -> None:
        self.number = number
        self.rows = rows
        self.events = events
        self._head = head
        self._full = self._delta = b""

    def full(self, models: Sequence[ModelShown], recent: list[Event]) -> bytes:
        """Returns the JSON for listeners that have not seen the previous frame; encoded once for all of them."""
        if not self._full:
            rows = [_row(row) for row in self.rows.values()]
            fields = {"models": models, **self._head, "deployments": rows, "events": recent}
            self._full = msgspec.json.encode(fields)
        return self._full

    def delta(self, before: "Frame") -> bytes:
        """Returns the JSON with the deployments that have changed since the previous frame, and all the rest."""
        if not self._delta:
            rows = [_row(row) for name, row in self.rows.items() if before.rows.get(name) != row]
            self._delta = msgspec.json.encode({**self._head, "deployments": rows, "events": self.events})
        return self._delta


def _row(snapshot: DeploymentSnapshot) -> dict[str, object]:
    row: dict[str, object] = {"id": snapshot.id, "state": snapshot.state}
    return row | {name: value for name in _ROW if (value := getattr(snapshot, name))}


class LiveFeed:
    """Reads the state once a second while it has listeners.

    ``extra``: returns the fields of each frame that do not come from the store; ``is_over``: returns whether the
    replica drains, which ends every stream, so that listeners connect to another replica.
    """

    def __init__(
        self,
        store: Failover,
        models: Sequence[ModelShown],
        replica: str,
        extra: Callable[[], dict[str, object]],
        is_over: Callable[[], bool],
    ) -> None:
        self._store = store
        self._models = models
        self._replica = replica
        self._extra = extra
        self.is_over = is_over
        self._listeners = 0
        self._kept: Kept | None = None
        self._ticked = asyncio.Event()
        self._frame: Frame | None = None
        self._before: Frame | None = None
        self._is_reset = False
        self._number = 0
        self._recent: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.event_count = 0  # without the events before the first read
        self._last: dict[tuple[str, str], str] = {}  # last event id by domain and store: each has its own stream

    def show_models(self, models: Sequence[ModelShown]) -> None:
        """Takes new models. The next frame is a full one for every listener."""
        self._models = models
        self._is_reset = True

    def listen(self) -> "Listener":
        """Returns a listener, which the caller must close. Raises RateLimited."""
        if self._listeners >= LISTENERS_MOST:
            raise RateLimited("This replica has too many live views already.", retry_after_ms=5000)
        self._listeners += 1
        self._start()
        return Listener(self)

    def _start(self) -> None:
        if self._kept is None or self._kept.is_over:
            self._frame = self._before = None
            self._recent.clear()
            self._last.clear()
            self._kept = Kept("live feed", self._run, self._is_wanted)

    def _is_wanted(self) -> bool:
        return self._listeners > 0 and not self.is_over()

    def leave(self) -> None:
        self._listeners -= 1

    async def stop(self) -> None:
        if self._kept is not None:
            await self._kept.stop()

    async def next(self, number: int) -> Frame | None:
        """Returns the present frame, or the next one if its number is not above ``number``; None at the end."""
        while not self.is_over():
            if self._frame is not None and self._frame.number > number:
                return self._frame
            self._start()
            ticked = self._ticked
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ticked.wait(), EVERY_S + TAKE_MOST_S)
        return None

    def events_since(self, event_count: int) -> list[Event] | None:
        """Returns the events after the first ``event_count``, None when some of them are no longer kept."""
        count = self.event_count - event_count
        if count > len(self._recent):
            return None
        return list(self._recent)[len(self._recent) - count :]

    def encoded(self, frame: Frame, seen: int) -> tuple[str, bytes]:
        """Returns kind and JSON of a frame for a listener that has seen the frame with the number ``seen``."""
        if self._before is not None and frame is self._frame and seen == self._before.number == frame.number - 1:
            return "delta", frame.delta(self._before)
        return "full", frame.full(self._models, list(self._recent)[-EVENTS_SHOWN:])

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while self._is_wanted():
                self._number += 1
                frame = await self._take()
                self._before, self._frame = None if self._is_reset else self._frame, frame
                self._is_reset = False
                self._tick()
                due = max(due + EVERY_S, loop.time())
                await asyncio.sleep(due - loop.time())
        finally:
            self._tick()

    def _tick(self) -> None:
        self._ticked.set()
        self._ticked = asyncio.Event()

    async def _take(self) -> Frame:
        """Reads a frame. Parts that the store does not return in time are left out, and `problem` names the reason."""
        head: dict[str, object] = {"replica": self._replica, "state": self._store.worst.state, **self._extra()}
        rows = self._frame.rows if self._frame else {}
        events: list[Event] = []
        try:
            async with asyncio.timeout(TAKE_MOST_S):
                snapshot = await self._store.snapshot(1)
                rows = {row.id: row for row in snapshot.deployments}
                head |= {"state": self._store.worst.state, "reason": self._reason(), "at_ms": snapshot.now_ms}
                head |= {"active": snapshot.active, "requests": snapshot.requests, "failures": snapshot.failures}
                head |= {"healthy_ratio": snapshot.healthy_ratio, "replicas_alive": snapshot.replicas_alive}
                head |= {"shed_reasons": snapshot.shed_reasons.split(",") if snapshot.shed_reasons else []}
                head["replicas"] = await self._store.active.views.roster()
                events = await self._new_events()
        except (StateError, TimeoutError) as error:
            head["problem"] = str(error) or "the store does not answer in time"
        return Frame(self._number, head, rows, events)

    def _reason(self) -> str:
        worst = self._store.worst
        return "" if worst.state == "shared" else worst.reason

    async def _new_events(self) -> list[Event]:
        """Returns the events since the last read. Clocks may differ, so each domain continues after its own last event.
        A store that was not read before continues after the last event of the other store of its domain: the ids of
        both are times of day.
        """
        if not self._last:
            recent = await event_pages.before(self._store, "", EVENTS_SHOWN)
            self._recent.extend(reversed(recent))
            newest = recent[0].id if recent else "0-0"
            self._last = {(domain, part.state): newest for domain, part in self._store.parts.items()}
            return []
        events: list[Event] = []
        lasts: dict[tuple[str, str], str] = {}
        for domain, part in self._store.parts.items():
            seen = {store: last for (name, store), last in self._last.items() if name == domain}
            last = seen.get(part.state) or max(seen.values(), key=place)
            page = await part.active.views.events_after(last, EVENTS_PAGE)
            lasts[domain, part.state] = page[-1].id if page else last
            events += page
        self._last |= lasts  # only after all stores have answered
        events.sort(key=lambda event: place(event.id))
        self._recent.extend(events)
        self.event_count += len(events)
        return events


class Listener:
    """One open live view, from `listen` to `close`."""

    def __init__(self, feed: LiveFeed) -> None:
        self._feed = feed
        self._seen = 0
        self._event_count = feed.event_count
        self._is_closed = False

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._feed.leave()

    async def frame(self) -> Frame | None:
        """Returns the latest frame, once it is newer than the last one returned; None at the end."""
        frame = await self._feed.next(self._seen)
        if frame is not None:
            self._seen = frame.number
        return frame

    def events(self) -> list[Event] | None:
        """Returns the events since the last call, None when some of them are no longer kept."""
        events, self._event_count = self._feed.events_since(self._event_count), self._feed.event_count
        return events

    async def encoded(self) -> tuple[str, bytes] | None:
        """Returns the next frame as `full` or `delta`, with its JSON; None at the end."""
        before = self._seen
        frame = await self.frame()
        return None if frame is None else self._feed.encoded(frame, before)
