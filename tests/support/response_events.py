"""The events of a streamed response, as OpenAI's clients read them."""

import json
from typing import Any

from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

OFFICIAL: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def read(body: bytes, last_number: int) -> list[Any]:
    """Returns the events, after a check that each is whole, named, numbered and of an official type."""
    sent = []
    for number, event in enumerate(body.decode().split("\n\n")[:-1]):
        name, data = event.split("\n")
        sent.append(json.loads(data.removeprefix("data: ")))
        OFFICIAL.validate_python(sent[-1])
        assert name == f"event: {sent[-1]['type']}"
        assert sent[-1]["sequence_number"] == number
    assert last_number == len(sent) - 1
    return sent


def kinds(sent: list[Any]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in sent]


def added_up(sent: list[Any]) -> list[Any]:
    """Returns the items as a client puts them together from the deltas, and checks that each event that repeats them
    agrees.
    """
    items: list[Any] = []
    for event in sent:
        kind = event["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert event["output_index"] == len(items)
            items.append({**event["item"], "so_far": ""})
        elif kind.endswith(".delta"):
            assert event["output_index"] == len(items) - 1
            assert event["item_id"] == items[-1]["id"]
            items[-1]["so_far"] += event["delta"]
        elif kind in ("output_text.done", "reasoning_summary_text.done"):
            assert event["text"] == items[-1]["so_far"]
        elif kind == "refusal.done":
            assert event["refusal"] == items[-1]["so_far"]
        elif kind == "function_call_arguments.done":
            assert event["arguments"] == items[-1]["so_far"]
        elif kind == "custom_tool_call_input.done":
            assert event["input"] == items[-1]["so_far"]
        elif kind == "output_item.done":
            assert event["item"]["id"] == items[-1]["id"]
            items[-1] = {**event["item"], "so_far": items[-1]["so_far"]}
    whole = [{key: value for key, value in item.items() if key != "so_far"} for item in items]
    assert sent[-1]["response"]["output"] == whole
    return [(item["type"], item["so_far"]) for item in items]
