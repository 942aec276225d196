"""Messages requests as the translation writes them for the provider, field by field."""

from typing import Literal

import msgspec

Object = dict[str, msgspec.Raw]


class Cached(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    cache_control: Object | None = None


class TextBlock(Cached, frozen=True, tag_field="type", tag="text"):
    text: str


class UrlSource(msgspec.Struct, frozen=True, tag_field="type", tag="url"):
    url: str


class InlineSource(msgspec.Struct, frozen=True, tag_field="type", tag="base64"):
    media_type: str
    data: str


class ImageBlock(Cached, frozen=True, tag_field="type", tag="image"):
    source: UrlSource | InlineSource


class DocumentBlock(Cached, frozen=True, tag_field="type", tag="document"):
    source: InlineSource
    title: str | None = None


class ToolUseBlock(Cached, frozen=True, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: msgspec.Raw


class ToolResultBlock(Cached, frozen=True, tag_field="type", tag="tool_result"):
    tool_use_id: str
    content: str | list[TextBlock] = ""


class ThinkingBlock(msgspec.Struct, frozen=True, tag_field="type", tag="thinking"):
    thinking: str
    signature: str


class RedactedThinkingBlock(msgspec.Struct, frozen=True, tag_field="type", tag="redacted_thinking"):
    data: str


CachedBlock = TextBlock | ImageBlock | DocumentBlock | ToolUseBlock | ToolResultBlock
Block = CachedBlock | ThinkingBlock | RedactedThinkingBlock


class Turn(msgspec.Struct, frozen=True):
    role: Literal["user", "assistant"]
    content: list[Block]


class Conversation(msgspec.Struct, frozen=True):
    """A system prompt and turns that alternate; no turn is empty."""

    system: list[TextBlock]
    messages: list[Turn]


class Tool(Cached, frozen=True):
    name: str
    input_schema: Object
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
    schema: Object


class OutputConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    format: JsonFormat | None = None
    effort: str | None = None


class Thinking(msgspec.Struct, frozen=True, omit_defaults=True):
    type: Literal["adaptive", "enabled"]
    budget_tokens: int | None = None


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
    thinking: Thinking | None = None
    metadata: Metadata | None = None
