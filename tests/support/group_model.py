"""What a group of deployments does that fail together, written a second time and from the rule alone. No store, no
clock.
"""

import dataclasses
import math

GROUP_MS = 30_000
WAIT_MS = 1_000


@dataclasses.dataclass
class Group:
    """``row``: the failures in a row, of all members; ``failed``, ``opened``: when, by member; ``moves``: from, to,
    at_ms of each suspicion; ``live_until_ms``: until when a success changes something.
    """

    size: int
    threshold: int
    share: float = 0.5
    row: int = 0
    at_ms: int = 0
    failed: dict[str, int] = dataclasses.field(default_factory=dict)
    opened: dict[str, int] = dataclasses.field(default_factory=dict)
    since_ms: int | None = None
    until_ms: int = 0
    live_until_ms: int = 0
    moves: list[tuple[str, str, int]] = dataclasses.field(default_factory=list)

    def are_enough(self, now_ms: int) -> bool:
        """Those count that opened, and in a row that would open a breaker all that failed."""
        counted = {**self.opened, **(self.failed if self.row >= self.threshold else {})}
        fresh = {name for name in counted if now_ms - max(counted[name], self.opened.get(name, 0)) <= GROUP_MS}
        return len(fresh) >= max(2, math.ceil(self.share * self.size))

    def fail(self, name: str, now_ms: int, cooldown_ms: int, has_opened: bool) -> None:
        if now_ms - self.at_ms > GROUP_MS and self.until_ms <= now_ms:
            self.forget()
        self.at_ms, self.row = now_ms, self.row + 1
        self.failed[name] = now_ms
        if has_opened:
            self.opened[name] = now_ms
        live_until_ms = now_ms + GROUP_MS
        if self.since_ms is None and self.are_enough(now_ms):
            self.since_ms = now_ms
            self.moves.append(("trusted", "suspect", now_ms))
        if self.since_ms is not None:
            self.until_ms = live_until_ms = max(self.until_ms, live_until_ms + cooldown_ms)
        self.live_until_ms = max(self.live_until_ms, live_until_ms)

    def succeed(self, name: str, now_ms: int, started_ms: int) -> None:
        """A call from before the suspicion shows nothing about now."""
        if self.live_until_ms <= now_ms or (self.since_ms is not None and started_ms < self.since_ms):
            return
        if not self.row and self.since_ms is None:
            return
        self.row = 0
        self.failed.clear()
        self.opened.pop(name, None)
        if self.since_ms is not None and not self.are_enough(now_ms):
            self.since_ms, self.until_ms = None, 0
            self.moves.append(("suspect", "trusted", now_ms))

    def forget(self) -> None:
        """But for what the domain remembers of it."""
        self.row, self.at_ms, self.since_ms, self.until_ms = 0, 0, None, 0
        self.failed.clear()
        self.opened.clear()

    def wait_ms(self, name: str, now_ms: int, cooldown_ms: int, served_ms: int, started_ms: list[int]) -> int | None:
        """How long a closed member is left alone, 0 where it may be probed, None above suspicion. ``served_ms``: its
        last success; ``started_ms``: of its active calls.
        """
        if self.since_ms is None or self.until_ms <= now_ms:
            return None
        if name in self.failed and now_ms < self.failed[name] + cooldown_ms:
            return self.failed[name] + cooldown_ms - now_ms
        if served_ms >= self.since_ms:
            return None
        return WAIT_MS if any(started >= self.since_ms for started in started_ms) else 0
