"""Removes the libraries of other versions that no replica has used for a day.

Each library counts its calls. The HASH `libraries` of the domain has, by library, the count and the time at which a
replica last saw it change. A replica touches its own libraries in every round, so that those of a version in use are
never removed, whatever the domain.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from shared_state.keys import Keys
from shared_state.scripts import COUNTER, LIBRARY_PREFIX, Library

ROUND_EVERY_S = 3600.0
UNUSED_MS = 86_400_000

Execute = Callable[..., Awaitable[list[Any]]]


async def remove_unused(execute: Execute, keys: Keys, own: Iterable[Library]) -> list[str]:
    """Takes one round; returns the names of the removed libraries. Does nothing where the store refuses the commands.
    ``execute``: sends commands to the server that takes the calls; an error reply is a StateError in the list. Raises
    StoreUnavailable.
    """
    listing = (b"FUNCTION", b"LIST", b"LIBRARYNAME", f"{LIBRARY_PREFIX}*".encode())
    listed, noted, time = await execute(listing, (b"HGETALL", keys.libraries), (b"TIME",))
    if not all(isinstance(reply, list) for reply in (listed, noted, time)):
        return []
    ours = {library.name.encode() for library in own}
    found = [dict(zip(row[::2], row[1::2], strict=True))[b"library_name"] for row in listed]
    counts = await execute(*((b"FCALL", name + COUNTER.encode(), b"0", *([b"own"] * (name in ours))) for name in found))
    now_ms, seen = int(time[0]) * 1000 + int(time[1]) // 1000, dict(zip(noted[::2], noted[1::2], strict=True))
    fresh, unused = [], []
    for name, reply in zip(found, counts, strict=True):
        if name in ours or not isinstance(reply, list):
            continue
        count, _, since_ms = seen.get(name, b"").partition(b" ")
        if count != b"%d" % reply[0]:
            fresh += [name, b"%d %d" % (reply[0], now_ms)]
        elif now_ms - int(since_ms) >= UNUSED_MS:
            unused.append(name)
    gone = [name for name in seen if name not in found or name in ours or name in unused]
    commands = [(b"HSET", keys.libraries, *fresh)] * bool(fresh) + [(b"HDEL", keys.libraries, *gone)] * bool(gone)
    commands += [(b"FUNCTION", b"DELETE", name) for name in unused]
    if commands:
        await execute(*commands)
    return [name.decode() for name in unused]
