"""Tools and the choice among them."""

from typing import Any

import msgspec
import pytest

from gateway.errors import InvalidRequest
from gateway.upstream.dialects.chat_as_messages.schema import ChatRequest
from gateway.upstream.dialects.chat_as_messages.tools import tool_use

F = {"type": "function", "function": {"name": "f"}}
G = {"type": "function", "function": {"name": "g", "description": "Does g.", "strict": True}}


def use(tools: Any = (F, G), **fields: Any) -> Any:
    chat = msgspec.convert({"messages": [{"role": "user", "content": "x"}], "tools": tools, **fields}, ChatRequest)
    return msgspec.json.decode(msgspec.json.encode(tool_use(chat)))


def allowed(mode: str, *tools: Any) -> Any:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def test_tools_have_name_description_and_schema() -> None:
    schema = {"type": "object", "properties": {}}

    assert use() == {
        "tools": [
            {"name": "f", "input_schema": schema},
            {
                "name": "g",
                "description": "Does g.",
                "input_schema": {**schema, "additionalProperties": False},
                "strict": True,
            },
        ],
        "choice": None,
    }


@pytest.mark.parametrize(
    ("parameters", "schema"),
    [
        (b"null", {"type": "object", "properties": {}}),
        (b"{}", {"type": "object", "properties": {}}),
        (b'{"properties": {"a": {}}}', {"type": "object", "properties": {"a": {}}}),
        (b'{"type": "object", "$defs": {"n": 1e3}}', {"type": "object", "$defs": {"n": 1000.0}}),
    ],
)
def test_schema_has_the_type_object(parameters: bytes, schema: Any) -> None:
    tool = b'{"type": "function", "function": {"name": "f", "parameters": %b}}' % parameters
    body = b'{"messages": [{"role": "user", "content": "x"}], "tools": [%b]}' % tool
    tools = tool_use(msgspec.json.decode(body, type=ChatRequest)).tools

    assert msgspec.json.decode(msgspec.json.encode(tools))[0]["input_schema"] == schema


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        ("none", {"type": "none"}),
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        (F, {"type": "tool", "name": "f"}),
    ],
)
def test_choice_is_translated_for_the_provider(choice: Any, sent: Any) -> None:
    assert use(tool_choice=choice)["choice"] == sent
    assert use(tool_choice=choice, parallel_tool_calls=True)["choice"] == sent


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, {"type": "auto", "disable_parallel_tool_use": True}),
        ("none", {"type": "none"}),
        ("required", {"type": "any", "disable_parallel_tool_use": True}),
        (F, {"type": "tool", "name": "f", "disable_parallel_tool_use": True}),
    ],
)
def test_one_call_at_a_time_is_part_of_the_choice(choice: Any, sent: Any) -> None:
    assert use(tool_choice=choice, parallel_tool_calls=False)["choice"] == sent


@pytest.mark.parametrize(("mode", "sent"), [("auto", "auto"), ("required", "any")])
def test_only_allowed_tools_are_shown(mode: str, sent: str) -> None:
    used = use(tool_choice=allowed(mode, G))

    assert ([tool["name"] for tool in used["tools"]], used["choice"]) == (["g"], {"type": sent})


@pytest.mark.parametrize("tools", [None, []])
@pytest.mark.parametrize("choice", [None, "none", "auto"])
def test_without_tools_there_is_no_choice(tools: Any, choice: Any) -> None:
    assert use(tools, tool_choice=choice, parallel_tool_calls=False) == {"tools": None, "choice": None}


@pytest.mark.parametrize(
    ("tools", "choice", "param"),
    [
        (None, "required", "tool_choice"),
        ([], F, "tool_choice"),
        (None, allowed("auto", F), "tool_choice"),
        ([F], G, "tool_choice.function.name"),
        ([F], allowed("auto", F, G), "tool_choice.allowed_tools.tools"),
        ([F], allowed("required"), "tool_choice.allowed_tools.tools"),
    ],
)
def test_choice_of_a_tool_that_is_not_there_is_refused(tools: Any, choice: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        use(tools, tool_choice=choice)

    assert (refused.value.param, refused.value.code) == (param, "unsupported_value")
