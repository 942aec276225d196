"""Translates the tools of a request to functions, and names calls of these functions as the client knows them."""

from typing import Literal

import msgspec

from gateway.upstream.dialects import tool_names
from gateway.upstream.dialects.responses_as_chat.schema import Kinds, Object, decoded, unsupported

_NAME_SHOWN = 64  # characters
_OBJECT = msgspec.Raw(b'"object"')
_NO_PARAMETERS = {"type": _OBJECT, "properties": msgspec.Raw(b"{}")}

# Tools that run at OpenAI and that a model may leave unused: the model answers without them.
LEFT_OUT = (
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
    "image_generation",
    "tool_search",
    "programmatic_tool_calling",
)


class _Labels(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that are dropped."""

    allowed_callers: list[str] | None = None
    defer_loading: bool | None = None
    output_schema: Object | None = None
    async_: bool | None = msgspec.field(default=None, name="async")


class FunctionTool(_Labels, frozen=True, tag="function"):
    name: str
    parameters: Object | None = None
    description: str | None = None
    strict: bool | None = None


class Grammar(msgspec.Struct, frozen=True, tag="grammar"):
    syntax: str
    definition: str


class FreeText(msgspec.Struct, frozen=True, tag="text"):
    pass


class CustomTool(_Labels, frozen=True, tag="custom"):
    """A tool whose input is text."""

    name: str
    description: str | None = None
    format: Grammar | FreeText | None = None


class Namespace(msgspec.Struct, frozen=True, tag="namespace"):
    name: str
    tools: list[FunctionTool | CustomTool]
    description: str | None = None


class _LeftOut(msgspec.Struct, frozen=True):
    type: str


_tools = Kinds(
    {"function": FunctionTool, "custom": CustomTool, "namespace": Namespace, **dict.fromkeys(LEFT_OUT, _LeftOut)}
)


class Function(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    parameters: Object
    description: str | None = None
    strict: bool | None = None


class ChatTool(msgspec.Struct, frozen=True, tag="function"):
    function: Function


class Named(msgspec.Struct, frozen=True):
    """A tool as its client knows it."""

    name: str
    namespace: str | None = None
    is_custom: bool = False


class Tools(msgspec.Struct, frozen=True):
    """The functions that a provider gets, and the tools that they stand for, by the function's name."""

    functions: list[ChatTool]
    named: dict[str, Named]


class _Name(msgspec.Struct, frozen=True):
    name: str


class ThisFunction(msgspec.Struct, frozen=True, tag="function"):
    function: _Name


class _Chosen(msgspec.Struct, frozen=True):
    type: Literal["function", "custom"]
    name: str
    namespace: str | None = None


class _Allowed(msgspec.Struct, frozen=True, tag="allowed_tools"):
    mode: Literal["auto", "required"]
    tools: list[msgspec.Raw]


_words = msgspec.json.Decoder(Literal["none", "auto", "required"] | None)
_choices = Kinds({"function": _Chosen, "custom": _Chosen, "allowed_tools": _Allowed})
_allowed = Kinds({"function": _Chosen, "custom": _Chosen, **dict.fromkeys(LEFT_OUT, _LeftOut)})


def function_name(name: str, namespace: str | None = None) -> str:
    """Returns the name of a tool's function. It is the same in every turn, so that cached prompts still match."""
    return tool_names.for_chat(f"{namespace}__{name}" if namespace else name)


def tools_of(raws: list[tuple[str, msgspec.Raw]]) -> Tools:
    """Translates tools, each with its place in the request. Raises InvalidRequest."""
    tools = Tools([], {})
    for place, raw in raws:
        tool = _tools.decode(raw, place)
        if isinstance(tool, Namespace):
            for inner in tool.tools:
                _add(tools, inner, tool.name, place)
        elif not isinstance(tool, _LeftOut):
            _add(tools, tool, None, place)
    return tools


def _add(tools: Tools, tool: FunctionTool | CustomTool, namespace: str | None, place: str) -> None:
    name = function_name(tool.name, namespace)
    if name in tools.named:
        raise unsupported(place, f"Two tools have the name `{name[:_NAME_SHOWN]}`.")
    is_custom = isinstance(tool, CustomTool)
    tools.named[name] = Named(tool.name, namespace, is_custom)
    function = _custom(name, tool) if isinstance(tool, CustomTool) else _function(name, tool)
    tools.functions.append(ChatTool(function))


def _function(name: str, tool: FunctionTool) -> Function:
    """Translates a function. OpenAI requires `properties` in every object, even if it has none."""
    schema = tool.parameters or _NO_PARAMETERS
    if schema.get("type") == _OBJECT and "properties" not in schema:
        schema = {**schema, "properties": msgspec.Raw(b"{}")}
    return Function(name, schema, tool.description, tool.strict)


def _custom(name: str, tool: CustomTool) -> Function:
    """Translates a tool whose input is text to a function of one text. Its grammar becomes a part of the description:
    the model reads it, but the provider does not enforce it.
    """
    description = tool.description or ""
    if isinstance(tool.format, Grammar):
        rule = f"The input must match this {tool.format.syntax} grammar:\n{tool.format.definition}"
        description = f"{description}\n\n{rule}" if description else rule
    text = {"type": "string", "description": "The input of the tool, as it is."}
    schema = {"type": "object", "properties": {"input": text}, "required": ["input"], "additionalProperties": False}
    parameters = {key: msgspec.Raw(msgspec.json.encode(value)) for key, value in schema.items()}
    return Function(name, parameters, description or None)


def chosen(choice: msgspec.Raw, tools: Tools) -> tuple[list[ChatTool], str | ThisFunction | None]:
    """Translates the choice. Returns it with the functions that it allows. Raises InvalidRequest."""
    functions = tools.functions
    if not bytes(choice).startswith(b"{"):
        word = decoded(_words, choice, "tool_choice")
        if word == "required" and not functions:
            raise unsupported("tool_choice", "There is no tool to choose at this model's provider.")
        return functions, word if functions else None
    read = _choices.decode(choice, "tool_choice")
    if isinstance(read, _Chosen):
        return functions, ThisFunction(_Name(_known(read, tools, "tool_choice")))
    names = set()
    for position, raw in enumerate(read.tools):
        place = f"tool_choice.tools[{position}]"
        allowed = _allowed.decode(raw, place)
        if isinstance(allowed, _Chosen):
            names.add(_known(allowed, tools, place))
    if not names and read.mode == "required":
        raise unsupported("tool_choice.tools", "None of these tools can be chosen at this model's provider.")
    kept = [tool for tool in functions if tool.function.name in names]
    return kept, read.mode if kept else None


def _known(choice: _Chosen, tools: Tools, place: str) -> str:
    name = function_name(choice.name, choice.namespace)
    if name not in tools.named:
        raise unsupported(f"{place}.name", "No tool has this name.")
    return name


class _Input(msgspec.Struct, frozen=True):
    input: str


_input = msgspec.json.Decoder(_Input)


def custom_input(arguments: str) -> str:
    """Returns the text in the arguments of a custom tool's function; arguments of another form are the text."""
    try:
        return _input.decode(arguments).input
    except (msgspec.DecodeError, RecursionError, ValueError):
        return arguments


def custom_arguments(text: str) -> str:
    return msgspec.json.encode(_Input(text)).decode()
