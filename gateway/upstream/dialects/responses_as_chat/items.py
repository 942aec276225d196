"""Input items as a client sends them: every kind that can be translated, and those that are left out.

Fields that only label are dropped after their types have been checked.
"""

from typing import Literal

import msgspec

from gateway.upstream.dialects.responses_as_chat.schema import Kinds, Object

# Items of tools that ran at the provider that made them. Their results are in the answer that followed.
LEFT_OUT = (
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "tool_search_call",
    "tool_search_output",
    "mcp_list_tools",
    "mcp_call",
    "mcp_approval_request",
    "mcp_approval_response",
    "program",
    "program_output",
    "configuration_update",
)


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    prompt_cache_breakpoint: Object | None = None


class InputText(_Part, frozen=True, tag="input_text"):
    text: str


class OutputText(_Part, frozen=True, tag="output_text"):
    text: str
    annotations: list[Object] | None = None
    logprobs: list[Object] | None = None


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    refusal: str


class InputImage(_Part, frozen=True, tag="input_image"):
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class InputFile(_Part, frozen=True, tag="input_file"):
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None
    detail: str | None = None


TextPart = InputText | OutputText | Refusal
UserPart = InputText | OutputText | Refusal | InputImage | InputFile


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    id: str | None = None
    status: str | None = None


class Message(_Item, frozen=True):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[UserPart]
    phase: str | None = None


class FunctionCall(_Item, frozen=True):
    call_id: str
    name: str
    arguments: str
    namespace: str | None = None
    caller: Object | None = None
    async_: bool | None = msgspec.field(default=None, name="async")


class CustomCall(_Item, frozen=True):
    call_id: str
    name: str
    input: str
    namespace: str | None = None
    caller: Object | None = None
    async_: bool | None = msgspec.field(default=None, name="async")


class CallOutput(_Item, frozen=True):
    """The output of a function or of a custom tool."""

    call_id: str
    output: str | list[UserPart]
    name: str | None = None
    namespace: str | None = None
    caller: Object | None = None


class _Summary(msgspec.Struct, frozen=True, tag="summary_text"):
    text: str


class _Thought(msgspec.Struct, frozen=True, tag="reasoning_text"):
    text: str


class Reasoning(_Item, frozen=True):
    summary: list[_Summary] = []
    content: list[_Thought] | None = None
    encrypted_content: str | None = None

    @property
    def text(self) -> str:
        return "\n\n".join(part.text for part in self.content or self.summary)


class AdditionalTools(_Item, frozen=True):
    tools: list[msgspec.Raw]
    role: str | None = None


class LeftOut(msgspec.Struct, frozen=True):
    type: str


Item = Message | FunctionCall | CustomCall | CallOutput | Reasoning | AdditionalTools | LeftOut

ITEMS = Kinds(
    {
        "message": Message,
        "function_call": FunctionCall,
        "function_call_output": CallOutput,
        "custom_tool_call": CustomCall,
        "custom_tool_call_output": CallOutput,
        "reasoning": Reasoning,
        "additional_tools": AdditionalTools,
        **dict.fromkeys(LEFT_OUT, LeftOut),
    },
    default="message",
    refused={
        "item_reference": "This model's provider keeps no items: send them in full, as clients do with store: false.",
    },
)
