"""Counts of the fake provider: every call ends in exactly one of succeeded, errors, aborted or cut.

So `requests` always equals those four plus `in_flight`, and a test can assert that no call leaked.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from loadtest.provider.dialects import NOT_JSON


class Counts(msgspec.Struct):
    requests: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    succeeded: int = 0
    errors: int = 0
    """Answered with an error status."""
    aborted: int = 0
    """The client disconnected before the end."""
    cut: int = 0
    """The script closed the connection before the end."""
    by_status: dict[int, int] = {}
    """Answers begun, by status."""
    # Kept unchanged and rendered on demand, because most are never shown.
    last_headers: Mapping[str, str] = {}
    last_body: bytes = b""

    def begin(self) -> None:
        self.requests += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def answer(self, status: int) -> None:
        self.by_status[status] = self.by_status.get(status, 0) + 1

    def reset(self) -> None:
        """Starts new counts. Calls in progress stay in flight and belong to the new counts."""
        in_flight = self.in_flight
        fresh = Counts(requests=in_flight, in_flight=in_flight, max_in_flight=in_flight)
        for field in self.__struct_fields__:
            setattr(self, field, getattr(fresh, field))

    def render(self) -> dict[str, Any]:
        return {
            **msgspec.structs.asdict(self),
            "last_headers": {name.lower(): value for name, value in self.last_headers.items()},
            "last_body": _json_or_text(self.last_body),
        }


def _json_or_text(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if body else None
    except NOT_JSON:
        return body.decode(errors="replace")
