"""Pages of the events of all routing domains. Each domain has its own stream. Ids are times, and pages are in their
order.
"""

import asyncio
from collections.abc import Sequence
from itertools import chain

from shared_state.failover import Failover
from shared_state.snapshots import Event


def place(event_id: str) -> tuple[int, ...]:
    """Returns the sort key of an id: its order in a stream."""
    return tuple(int(part) for part in event_id.split("-"))


async def before(failover: Failover, event_id: str, most: int) -> list[Event]:
    """Returns the events before ``event_id``, or the latest ones if it is empty, newest first. Raises StateError."""
    stores = [part.active for part in failover.parts.values()]
    pages = await asyncio.gather(*(store.views.events_before(event_id, most) for store in stores))
    return _first(sorted(chain(*pages), key=_place, reverse=True), most)


async def after(failover: Failover, event_id: str, most: int) -> list[Event]:
    """Returns the events after ``event_id``, oldest first. Raises StateError."""
    stores = [part.active for part in failover.parts.values()]
    pages = await asyncio.gather(*(store.views.events_after(event_id, most) for store in stores))
    return _first(sorted(chain(*pages), key=_place), most)


def _place(event: Event) -> tuple[int, ...]:
    return place(event.id)


def _first(events: Sequence[Event], most: int) -> list[Event]:
    """Returns the first ``most`` events and all others with the last one's id, which two domains may have given: the
    next page begins after that id.
    """
    last = events[:most][-1].id if events else ""
    return [event for position, event in enumerate(events) if position < most or event.id == last]
