"""Messages requests as the translation writes them for the provider, field by field."""

from typing import Literal

import msgspec


class TextBlock(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    text: str


class UrlSource(msgspec.Struct, frozen=True, tag_field="type", tag="url"):
    url: str


class InlineSource(msgspec.Struct, frozen=True, tag_field="type", tag="base64"):
    media_type: str
    data: str


class ImageBlock(msgspec.Struct, frozen=True, tag_field="type", tag="image"):
    source: UrlSource | InlineSource


class DocumentBlock(msgspec.Struct, frozen=True, tag_field="type", tag="document", omit_defaults=True):
    source: InlineSource
    title: str | None = None


class ToolUseBlock(msgspec.Struct, frozen=True, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: msgspec.Raw


class ToolResultBlock(msgspec.Struct, frozen=True, tag_field="type", tag="tool_result", omit_defaults=True):
    tool_use_id: str
    content: str | list[TextBlock] = ""


Block = TextBlock | ImageBlock | DocumentBlock | ToolUseBlock | ToolResultBlock


class Turn(msgspec.Struct, frozen=True):
    role: Literal["user", "assistant"]
    content: list[Block]


class Conversation(msgspec.Struct, frozen=True):
    """A system prompt and turns that alternate; no turn is empty."""

    system: list[TextBlock]
    messages: list[Turn]


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    input_schema: dict[str, msgspec.Raw]
    description: str | None = None
    strict: bool = False


class ToolChoice(msgspec.Struct, frozen=True, omit_defaults=True):
    type: Literal["none", "auto", "any", "tool"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class ToolUse(msgspec.Struct, frozen=True):
    """The tools that the model may use, and the choice among them."""

    tools: list[Tool] | None = None
    choice: ToolChoice | None = None


class Metadata(msgspec.Struct, frozen=True):
    user_id: str


class JsonFormat(msgspec.Struct, frozen=True, tag_field="type", tag="json_schema"):
    schema: dict[str, msgspec.Raw]


class OutputConfig(msgspec.Struct, frozen=True):
    format: JsonFormat


class MessagesRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    model: str
    max_tokens: int
    messages: list[Turn]
    system: str | list[TextBlock] = ""
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None
    stream: bool = False
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    output_config: OutputConfig | None = None
    metadata: Metadata | None = None
