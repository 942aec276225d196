"""Translates the tools of a chat request, and the choice among them, to those of a messages request."""

import msgspec

from gateway.upstream.dialects import json_schemas, tool_names
from gateway.upstream.dialects.chat_as_messages.blocks import Tool, ToolChoice, ToolUse
from gateway.upstream.dialects.chat_as_messages.schema import (
    AllowedToolsChoice,
    ChatRequest,
    NamedTool,
    unsupported,
)
from gateway.upstream.dialects.chat_as_messages.schema import Tool as FunctionTool

# Messages requests require the type; chat requests may leave it out.
_OBJECT = {"type": msgspec.Raw(b'"object"')}
_NO_PARAMETERS = {**_OBJECT, "properties": msgspec.Raw(b"{}")}


def tool_use(chat: ChatRequest) -> ToolUse:
    """Translates tools and choice. Without tools the provider accepts no choice. Raises InvalidRequest."""
    choice = _choice(chat)
    if chat.tools:
        tools = [_tool(tool) for tool in chat.tools]
        if isinstance(chat.tool_choice, AllowedToolsChoice):
            tools = _allowed(tools, chat.tool_choice)
        if choice and choice.type == "tool" and choice.name not in {tool.name for tool in tools}:
            raise unsupported("tool_choice.function.name", "The chosen tool is not among the tools.")
        return ToolUse(tools, choice)
    if chat.tool_choice in (None, "none", "auto"):
        return ToolUse()
    raise unsupported("tool_choice", "A tool can be chosen only where tools are given.")


def _tool(tool: FunctionTool) -> Tool:
    """Translates a tool. Only a strict one has to keep to the provider's subset of JSON schemas."""
    function, is_strict = tool.function, tool.function.strict is True
    schema = {**_OBJECT, **function.parameters} if function.parameters else _NO_PARAMETERS
    return Tool(
        tool_names.for_messages(function.name),
        json_schemas.for_messages(schema) if is_strict else schema,
        function.description or None,
        is_strict,
        cache_control=tool.cache_control or function.cache_control,
    )


def _allowed(tools: list[Tool], choice: AllowedToolsChoice) -> list[Tool]:
    """Keeps the allowed tools only: the provider has no such choice."""
    names = {tool_names.for_messages(tool.function.name) for tool in choice.allowed_tools.tools}
    if not names or not names <= {tool.name for tool in tools}:
        raise unsupported("tool_choice.allowed_tools.tools", "The allowed tools must be some of the tools.")
    return [tool for tool in tools if tool.name in names]


def _choice(chat: ChatRequest) -> ToolChoice | None:
    is_single = chat.parallel_tool_calls is False
    chosen = chat.tool_choice
    if isinstance(chosen, NamedTool):
        return ToolChoice("tool", tool_names.for_messages(chosen.function.name), is_single)
    if isinstance(chosen, AllowedToolsChoice):
        chosen = chosen.allowed_tools.mode
    if chosen == "none":
        return ToolChoice("none")
    if chosen == "required":
        return ToolChoice("any", None, is_single)
    return ToolChoice("auto", None, is_single) if chosen or is_single else None
