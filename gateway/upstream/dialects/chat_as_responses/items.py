"""Translates chat messages to input items of a response."""

from collections.abc import Sequence

import msgspec

from gateway.upstream.dialects import call_ids
from gateway.upstream.dialects.chat_as_messages.schema import (
    AssistantMessage,
    DeveloperMessage,
    FilePart,
    ImagePart,
    Message,
    Object,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolMessage,
    unsupported,
)


class InputText(msgspec.Struct, frozen=True, tag="input_text"):
    text: str


class InputImage(msgspec.Struct, frozen=True, tag="input_image"):
    image_url: str
    detail: str


class InputFile(msgspec.Struct, frozen=True, tag="input_file", omit_defaults=True):
    file_data: str | None = None
    filename: str | None = None
    file_id: str | None = None


Part = InputText | InputImage | InputFile


class MessageItem(msgspec.Struct, frozen=True, tag="message"):
    role: str
    content: str | list[Part]


class FunctionCall(msgspec.Struct, frozen=True, tag="function_call"):
    call_id: str
    name: str
    arguments: str


class CallOutput(msgspec.Struct, frozen=True, tag="function_call_output"):
    call_id: str
    output: str


Item = MessageItem | FunctionCall | CallOutput


def items_of(messages: Sequence[Message]) -> list[Item]:
    """Translates all messages. Raises InvalidRequest."""
    items: list[Item] = []
    for position, message in enumerate(messages):
        place = f"messages[{position}]"
        match message:
            case SystemMessage():  # and DeveloperMessage, which is one
                role = "developer" if isinstance(message, DeveloperMessage) else "system"
                items.append(MessageItem(role, _text(message.content)))
            case AssistantMessage():
                items += _assistant(message, place)
            case ToolMessage():
                items.append(CallOutput(call_ids.for_responses(message.tool_call_id), _text(message.content)))
            case _:
                content = message.content
                items.append(MessageItem("user", content if isinstance(content, str) else _parts(content)))
    return items


def _assistant(message: AssistantMessage, place: str) -> list[Item]:
    if message.function_call is not None:
        raise unsupported(f"{place}.function_call", "function_call is not supported: use tool_calls.")
    if message.audio is not None:
        raise unsupported(f"{place}.audio", "Audio is not supported.")
    texts = [text for text in (_text(message.content), message.refusal) if text]
    items: list[Item] = [MessageItem("assistant", text) for text in texts]
    return items + [
        FunctionCall(call_ids.for_responses(call.id), call.function.name, _arguments(call.function.arguments))
        for call in message.tool_calls or ()
    ]


def _arguments(arguments: str | Object) -> str:
    """Returns the text of arguments; some clients send back the object that a server sent them."""
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()


def _text(content: str | Sequence[TextPart | RefusalPart] | None) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.text if isinstance(part, TextPart) else part.refusal for part in content or ())


def _parts(content: Sequence[TextPart | ImagePart | FilePart]) -> list[Part]:
    parts: list[Part] = []
    for part in content:
        match part:
            case TextPart():
                parts.append(InputText(part.text))
            case ImagePart():
                parts.append(InputImage(part.image_url.url, part.image_url.detail or "auto"))
            case _:
                parts.append(InputFile(part.file.file_data, part.file.filename, part.file.file_id))
    return parts
