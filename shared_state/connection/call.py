"""One script call that waits for its reply."""

import asyncio
from collections.abc import Callable

from shared_state.errors import ScriptFailed, StateError, StoreUnavailable

Reply = list[object]
Orphaned = Callable[[Reply], None]
Lost = Callable[[bool], None]
Repack = Callable[[], bytes]


class Call:
    """One script call, from its queue to its reply."""

    __slots__ = (
        "again",  # the request to send when an earlier sending may have been carried out
        "future",  # of the reply
        "has_era",  # appends the number of the connection as the last argument
        "is_urgent",
        "loads",  # times that the store did not know the script
        "lost",  # called when no reply will come; its argument: the call was sent, so it may have been carried out
        "orphaned",  # called with a reply whose caller was cancelled, because a grant must not be lost
        "packed",  # the request of the first sending
        "queued_at",  # by the clock of patience
        "redirects",  # times that the topology had changed
        "repack",  # packs the request anew at each sending; None where it is the same at any time
        "sendings",
        "sent_at",  # by the event loop's clock
    )

    def __init__(
        self,
        packed: bytes,
        again: bytes,
        orphaned: Orphaned | None,
        lost: Lost | None,
        has_era: bool,
        is_urgent: bool,
        future: asyncio.Future[Reply],
    ) -> None:
        self.packed = packed
        self.again = again
        self.orphaned = orphaned
        self.lost = lost
        self.has_era = has_era
        self.is_urgent = is_urgent
        self.queued_at = 0.0
        self.future = future
        self.repack: Repack | None = None
        self.sendings = 0
        self.loads = 0
        self.redirects = 0
        self.sent_at = 0.0

    @property
    def request(self) -> bytes:
        """The request of the next sending."""
        if self.repack is not None:
            return self.repack()
        return self.again if self.sendings else self.packed

    @property
    def function(self) -> bytes:
        """Identifies the script: every call is packed as an FCALL."""
        return self.packed.split(b"\r\n", 5)[4]

    def resolve(self, reply: object) -> None:
        """Passes the reply to the caller; an error reply fails the call."""
        if self.future.done():
            if self.orphaned is not None and isinstance(reply, list):
                self.orphaned(reply)
        elif isinstance(reply, list):
            self.future.set_result(reply)
        else:
            self.fail(reply if isinstance(reply, StateError) else ScriptFailed(f"not a script's reply: {reply!r}"))

    def fail(self, error: StateError) -> None:
        """Ends the call without a reply."""
        if self.lost is not None and isinstance(error, StoreUnavailable):
            self.lost(self.sendings > 0)
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # marks it as seen: a settle without a waiting caller is no event-loop error
