"""Limits of a good answer: the objectives that goodput is counted against."""

import msgspec


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """All in ms, None without a limit; counted from when the call was due, except for the gap."""

    ttft_ms: float | None = None
    """Until the first token of a stream; until the end of a plain answer."""
    gap_ms: float | None = None
    """The longest pause within a stream."""
    latency_ms: float | None = None
    """Until the end."""

    def is_kept(self, first_token_ms: float, longest_gap_ms: float, total_ms: float) -> bool:
        return (
            (self.ttft_ms is None or first_token_ms <= self.ttft_ms)
            and (self.gap_ms is None or longest_gap_ms <= self.gap_ms)
            and (self.latency_ms is None or total_ms <= self.latency_ms)
        )

    def render(self) -> str:
        limits = msgspec.structs.asdict(self)
        return ", ".join(
            f"{name.removesuffix('_ms')} {limit:g} ms" for name, limit in limits.items() if limit is not None
        )
