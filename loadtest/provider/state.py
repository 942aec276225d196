"""What one answer of the fake provider names of the state of its account."""

from typing import Any

import msgspec


class State(msgspec.Struct, frozen=True):
    """``owner``: part of every id; ``previous``: the response that this one follows; ``is_stored``: the response is
    kept; ``has_encrypted``: it begins with encrypted reasoning; ``container``: of a message, a new one if empty.
    """

    owner: str = ""
    previous: str | None = None
    is_stored: bool = True
    has_encrypted: bool = False
    container: str | None = None

    def own(self, number: int) -> str:
        """Returns the part of an id that no other answer has."""
        return f"{self.owner}{number}"

    def in_response(self) -> dict[str, Any]:
        return {"store": self.is_stored, "previous_response_id": self.previous}

    def reasoning(self, number: int) -> list[dict[str, Any]]:
        own = self.own(number)
        item = {"type": "reasoning", "id": f"rs_{own}", "summary": [], "encrypted_content": f"gAAA_{own}"}
        return [item] if self.has_encrypted else []

    def in_message(self, number: int) -> dict[str, Any]:
        if self.container is None:
            return {}
        name = self.container or f"container_{self.own(number)}"
        return {"container": {"id": name, "expires_at": "2027-01-01T00:00:00Z"}}


NO_STATE = State()
