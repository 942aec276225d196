"""The state of one account of the fake provider: it knows the responses, containers and encrypted reasoning that it has
made itself, and refuses those of any other account as OpenAI and Anthropic do.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from loadtest.provider.dialects import Call, Kind
from loadtest.provider.errors import Refusal
from loadtest.provider.state import State

KEPT_MOST = 10_000


class Account:
    """``name`` is part of every id, so that two accounts never make the same one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._responses: dict[str, bytes] = {}
        self._made = 0

    def number(self) -> int:
        """Returns the number of the next answer."""
        self._made += 1
        return self._made

    def with_state(self, call: Call, body: bytes) -> Call:
        """Returns the call with what its answer has to name. Raises Refusal for what another account holds."""
        fields: dict[str, Any] = msgspec.json.decode(body)
        for refusal in self._missing(call.kind, fields):
            raise refusal
        container = _id(fields.get("container"))
        state = State(
            owner=f"{self._name}_",
            previous=fields.get("previous_response_id"),
            is_stored=fields.get("store") is not False,
            has_encrypted="reasoning.encrypted_content" in (fields.get("include") or ()),
            container=container or ("" if b"code_execution" in body else None),
        )
        return msgspec.structs.replace(call, state=state)

    def _missing(self, kind: Kind, fields: dict[str, Any]) -> Iterator[Refusal]:
        previous = fields.get("previous_response_id")
        if previous is not None and previous not in self._responses:
            code = "previous_response_not_found"
            yield Refusal(400, f"Previous response with id '{previous}' not found.", "previous_response_id", code)
        for name in (_id(fields.get("container")), _id(fields.get("conversation"))):
            if name is not None and not self._is_ours(name):
                yield Refusal(404 if kind is Kind.RESPONSE else 400, f"Container {name} not found")
        items = fields.get("input")
        for item in items if isinstance(items, list) else ():
            if item.get("type") == "item_reference" and not self._is_ours(item["id"]):
                yield Refusal(404, f"Item with id '{item['id']}' not found.", "input")
            if item.get("encrypted_content") and not self._is_ours(item["encrypted_content"]):
                words = "The encrypted content for item rs could not be verified."
                yield Refusal(400, words, None, "invalid_encrypted_content")

    def _is_ours(self, name: str) -> bool:
        return f"_{self._name}_" in name

    def keep(self, number: int, response: bytes) -> None:
        if len(self._responses) >= KEPT_MOST:
            del self._responses[next(iter(self._responses))]
        self._responses[f"resp_{self._name}_{number}"] = response

    def stored(self, method: str, path: str) -> bytes:
        """Answers the endpoints of a stored response. Raises Refusal."""
        name, _, action = path.removeprefix("/v1/responses/").partition("/")
        response = self._responses.get(name)
        if response is None:
            raise Refusal(404, f"Response with id '{name}' not found.")
        match (method, action):
            case ("GET", ""):
                return response
            case ("DELETE", ""):
                del self._responses[name]
                return msgspec.json.encode({"id": name, "object": "response.deleted", "deleted": True})
            case ("POST", "cancel"):
                return msgspec.json.encode({**msgspec.json.decode(response), "status": "cancelled"})
            case ("GET", "input_items"):
                return msgspec.json.encode({"object": "list", "data": [], "has_more": False})
        raise Refusal(404, f"Unknown request URL: {method} {path}")


def _id(value: Any) -> str | None:
    value = value.get("id") if isinstance(value, dict) else value
    return value if isinstance(value, str) else None
