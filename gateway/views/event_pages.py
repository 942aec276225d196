"""Pages of the events of all routing domains. Each domain has a stream of its own; their ids are times, and what is
shown is in their order.
"""

import asyncio
from collections.abc import Sequence
from itertools import chain

from shared_state.failover import Failover
from shared_state.snapshots import Event


def place(event_id: str) -> tuple[int, ...]:
    """Ids sorted by it are in the order of a stream."""
    return tuple(int(part) for part in event_id.split("-"))


async def before(failover: Failover, event_id: str, most: int) -> list[Event]:
    """The newest first, of those before this one; of all when that is empty. Raises StateError."""
    stores = [each.active for each in failover.parts.values()]
    found = await asyncio.gather(*(store.views.events_before(event_id, most) for store in stores))
    return _first(sorted(chain(*found), key=_place, reverse=True), most)


async def after(failover: Failover, event_id: str, most: int) -> list[Event]:
    """The oldest first, of those after this one. Raises StateError."""
    stores = [each.active for each in failover.parts.values()]
    found = await asyncio.gather(*(store.views.events_after(event_id, most) for store in stores))
    return _first(sorted(chain(*found), key=_place), most)


def _place(event: Event) -> tuple[int, ...]:
    return place(event.id)


def _first(events: Sequence[Event], most: int) -> list[Event]:
    """With all that have the last one's id, which two domains may have given: the next page begins behind it."""
    last = events[:most][-1].id if events else ""
    return [each for position, each in enumerate(events) if position < most or each.id == last]
