"""Calls that ended without a reply because the store was away. They are kept until it is back."""

from functools import partial

from shared_state.connection.batcher import Batcher
from shared_state.connection.call import Orphaned

KEPT_MOST = 10_000  # settles, and decisions: the rest expires with its lease


class LostCalls:
    """Settles that the store has not confirmed, and decisions with an unknown result, both by token."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._owed: dict[str, bytes] = {}
        self._unconfirmed: dict[str, tuple[bytes, Orphaned]] = {}

    def owe(self, token: str, packed: bytes, _was_sent: bool = False) -> None:
        """Keeps a settle, which `resend` sends until it has arrived."""
        if len(self._owed) < KEPT_MOST:
            self._owed[token] = packed

    def discard(self, token: str, again: bytes, orphaned: Orphaned, was_sent: bool, is_sent: bool) -> None:
        """Keeps a decision whose caller has left: if it was sent, the store may have granted it."""
        if (was_sent or is_sent) and len(self._unconfirmed) < KEPT_MOST:
            self._unconfirmed[token] = (again, orphaned)

    def resend(self) -> None:
        """Sends the settles and the decisions again. The same token gets the same grant, which ``orphaned`` returns at
        once; a decision that was not granted is not granted now either.
        """
        owed, self._owed = self._owed, {}
        for token, packed in owed.items():
            self._batcher.call(packed, lost=partial(self.owe, token, packed))
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        for token, (again, orphaned) in unconfirmed.items():
            lost = partial(self.discard, token, again, orphaned, True)
            self._batcher.call(again, again, orphaned, lost, has_era=True).cancel()
