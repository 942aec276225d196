"""The views of an operator: one deployment, events, replicas, the settings in force, and the live state."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.configuration.settings import Settings
from gateway.endpoints.admin.access import AdminAccess
from gateway.endpoints.admin.breakers import ACTIONS, answered
from gateway.endpoints.admin.masking import masked
from gateway.endpoints.event_stream import EventStream, event
from gateway.errors import InvalidRequest, MethodNotAllowed, NotFound
from gateway.views import event_pages
from gateway.views.event_pages import place
from gateway.views.live import EVENTS_PAGE, Listener, LiveFeed
from shared_state.errors import StateError, StoreTimeout
from shared_state.failover import Failover
from shared_state.snapshots import Event

EVENTS_MOST = 1000
PAGES_MOST = 20  # for a client that catches up: more events than the store keeps
PING_FRAMES = 15  # seconds without an event: shorter than the idle timeout of proxies
FRAMES_MOST = 1_000_000
ANSWER_MOST_S = 5.0
_WHOLE = re.compile(r"[0-9]{1,9}")
_EVENT_ID = re.compile(r"[0-9]{1,18}(-[0-9]{1,18})?")


class Overview:
    """The endpoints of an operator's views; each needs the role of a viewer."""

    def __init__(self, access: AdminAccess, store: Failover, feed: LiveFeed, settings: Settings) -> None:
        self._access = access
        self._store = store
        self._feed = feed
        self._ids = {deployment.id for deployment in settings.model_list if deployment.enabled}
        self._configuration = masked(settings)

    async def deployment(self, request: Request) -> Response:
        """GET /v1/admin/deployments/{id}: all that is known of it, including the histogram of its window."""
        self._access.authorize(request, "viewer")
        deployment_id = request.path_params["deployment"]
        if deployment_id not in self._ids:
            owner, _, action = deployment_id.rpartition("/")
            if owner in self._ids and action in ACTIONS:
                refused = MethodNotAllowed(f"{request.method} is not allowed here.")
                refused.headers.append((b"allow", b"POST"))
                raise refused
            raise NotFound(f"No deployment `{deployment_id[:200]}`.")
        snapshot = await _in_time(self._store.snapshot(2, [deployment_id]))
        return answered(snapshot.deployments[0])

    async def replicas(self, request: Request) -> Response:
        """GET /v1/admin/replicas. `behind`: the replicas whose file is not the configuration in force."""
        self._access.authorize(request, "viewer")
        replicas = await _in_time(self._store.active.views.roster())
        behind = [each.id for each in replicas if each.is_behind]
        return answered({"replicas": replicas, "state": self._store.worst.state, "behind": behind})

    async def configuration(self, request: Request) -> Response:
        """GET /v1/admin/configuration: the settings in force, secrets masked."""
        self._access.authorize(request, "viewer")
        return answered(self._configuration)

    async def events(self, request: Request) -> Response:
        """GET /v1/admin/events?before=&limit=: the newest first; a stream for clients that accept `text/event-
        stream`.
        """
        self._access.authorize(request, "viewer")
        if "text/event-stream" in request.headers.get("accept", ""):
            after = _event_id(request.headers.get("last-event-id", ""), "last-event-id")
            return self._streamed(request, lambda listener: self._event_chunks(listener, after))
        before = _event_id(request.query_params.get("before", ""), "before")
        limit = _number(request, "limit", EVENTS_PAGE, EVENTS_MOST)
        page = await _in_time(event_pages.before(self._store, before, limit))
        return answered({"events": page, "next_before": page[-1].id if len(page) >= limit else None})

    async def live(self, request: Request) -> Response:
        """GET /v1/admin/live?frames=: the state once a second as server-sent events, one `full`, then `delta` ones."""
        self._access.authorize(request, "viewer")
        frames = _number(request, "frames", FRAMES_MOST, FRAMES_MOST)
        return self._streamed(request, lambda listener: _frame_chunks(listener, frames))

    def _streamed(self, request: Request, chunks: "Chunks") -> Response:
        if request.method == "HEAD":
            return Response(media_type=EventStream.media_type)
        listener = self._feed.listen()
        return EventStream(chunks(listener), listener.close)

    async def _event_chunks(self, listener: Listener, after: str) -> AsyncGenerator[bytes]:
        """Yields the events after the last one that the client has seen, then new ones. Ends when it cannot deliver all
        of them, so that the client reconnects.
        """
        if await listener.frame() is None:
            return
        yield b"retry: 2000\n\n"  # only now, as the client gets every event from here on
        known, sent = place(after or "0-0"), set[Event]()
        try:
            for _ in range(PAGES_MOST if after else 0):
                page = await _in_time(event_pages.after(self._store, after, EVENTS_PAGE))
                if not page:
                    break
                after = page[-1].id
                sent.update(page)
                yield _event_chunks(page)
        except StateError:
            return
        quiet = 0
        while await listener.frame() is not None:
            fresh = listener.events()
            if fresh is None:
                return
            fresh = [each for each in fresh if place(each.id) > known and each not in sent]
            quiet = 0 if fresh else quiet + 1
            if fresh:
                yield _event_chunks(fresh)
            elif quiet % PING_FRAMES == 0:
                yield b": ping\n\n"


Chunks = Callable[[Listener], AsyncGenerator[bytes]]
_Answer = TypeVar("_Answer")


async def _frame_chunks(listener: Listener, frames: int) -> AsyncGenerator[bytes]:
    for _ in range(frames):
        encoded = await listener.encoded()
        if encoded is None:
            return
        yield event(*encoded)


def _event_chunks(events: list[Event]) -> bytes:
    return b"".join(event("transition", msgspec.json.encode(each), each.id) for each in events)


async def _in_time(query: Awaitable[_Answer]) -> _Answer:
    """Awaits the reply of the store for a limited time. Raises StateError."""
    try:
        async with asyncio.timeout(ANSWER_MOST_S):
            return await query
    except TimeoutError:
        raise StoreTimeout("the store did not answer in time") from None


def _event_id(text: str, param: str) -> str:
    """Checks the id of an event, which may be empty. Raises InvalidRequest."""
    if text and not _EVENT_ID.fullmatch(text):
        raise InvalidRequest(f"{param} must be the id of an event.", param=param)
    return text


def _number(request: Request, param: str, default: int, most: int) -> int:
    """Returns a whole number of the query. Raises InvalidRequest."""
    text = request.query_params.get(param, str(default))
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= most:
        raise InvalidRequest(f"{param} must be a whole number from 1 to {most}.", param=param)
    return int(text)
