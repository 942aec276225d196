"""Translates input items to chat messages.

A chat completion's assistant message holds text and calls, and the results of its calls follow directly. Items of a
response come one by one, and a result may stand anywhere behind its call. Both dialects require a result for every
call: a request that breaks the rule is refused here, where the place can be named.
"""

from collections import defaultdict, deque
from collections.abc import Sequence

import msgspec

from gateway.errors import InvalidRequest
from gateway.upstream.dialects import call_ids
from gateway.upstream.dialects.responses_as_chat.items import (
    CallOutput,
    CustomCall,
    FunctionCall,
    InputFile,
    InputImage,
    Item,
    Message,
    Reasoning,
    Refusal,
    UserPart,
)
from gateway.upstream.dialects.responses_as_chat.schema import unsupported
from gateway.upstream.dialects.responses_as_chat.tools import custom_arguments, function_name
from gateway.upstream.dialects.web_address import is_web_address

OWN_REASONING = "rs_pllm_"  # begins the ids of reasoning that a provider of chat completions sent as text
_DETAILS = ("auto", "low", "high")
_DEFAULT_FILENAME = "document.pdf"


class Text(msgspec.Struct, frozen=True, tag="text"):
    text: str


class ImageUrl(msgspec.Struct, frozen=True, omit_defaults=True):
    url: str
    detail: str | None = None


class ImagePart(msgspec.Struct, frozen=True, tag="image_url"):
    image_url: ImageUrl


class File(msgspec.Struct, frozen=True):
    filename: str
    file_data: str


class FilePart(msgspec.Struct, frozen=True, tag="file"):
    file: File


Part = Text | ImagePart | FilePart


class CalledFunction(msgspec.Struct, frozen=True):
    name: str
    arguments: str


class ToolCall(msgspec.Struct, frozen=True, tag="function"):
    id: str
    function: CalledFunction


class ChatMessage(msgspec.Struct, omit_defaults=True):
    """A chat message. The content is null next to calls without text: some servers require the field."""

    role: str
    content: str | list[Part] | None
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class Placed(msgspec.Struct, frozen=True):
    """An input item and its place in the request."""

    place: str
    item: Item


class Turns:
    """The messages of one request, with the place in it that each of them comes from."""

    def __init__(self, items: Sequence[Placed]) -> None:
        self.messages: list[ChatMessage] = []
        self.places: list[str] = []
        self._outputs: dict[str, deque[tuple[int, Placed]]] = defaultdict(deque)
        self._reasoning = ""
        self._calls: list[tuple[int, str, FunctionCall | CustomCall]] = []  # of the last message, without results yet
        self._current = max((k for k, each in enumerate(items) if _is_user(each.item)), default=-1)
        for position, each in enumerate(items):
            if isinstance(each.item, CallOutput):
                self._outputs[each.item.call_id].append((position, each))
        for position, each in enumerate(items):
            self._add(position, each)
        self._answer_calls()
        for outputs in self._outputs.values():
            for _, each in outputs:
                raise unsupported(f"{each.place}.call_id", "No call of this id, still without its output, is before.")

    def begin_with(self, instructions: str | None) -> None:
        """Joins the instructions and the system messages at the beginning: many servers accept one only."""
        leading = 0
        while leading < len(self.messages) and self.messages[leading].role == "system":
            leading += 1
        texts = [instructions or "", *(str(message.content) for message in self.messages[:leading])]
        if text := "\n\n".join(text for text in texts if text):
            place = self.places[0] if leading else "instructions"
            self.messages[:leading], self.places[:leading] = [ChatMessage("system", text)], [place]

    def _add(self, position: int, each: Placed) -> None:
        item, place = each.item, each.place
        match item:
            case Message(role="assistant"):
                self._assistant(place).content = _joined(self._assistant(place).content, _text(item.content, place))
            case Message():
                self._end_turn()
                self._message(item, place)
            case FunctionCall():
                self._call(position, place, item, item.arguments)
            case CustomCall():
                self._call(position, place, item, custom_arguments(item.input))
            case CallOutput():
                self._answer_calls()
            case Reasoning() if _is_readable(item) and position > self._current:
                self._answer_calls()
                self._reasoning = "\n\n".join(text for text in (self._reasoning, item.text) if text)

    def _message(self, item: Message, place: str) -> None:
        if item.role != "user":
            if text := _text(item.content, place):
                self._append(ChatMessage("system", text), place)
        elif parts := _parts(item.content, f"{place}.content"):
            single = parts[0] if len(parts) == 1 else None
            self._append(ChatMessage("user", single.text if isinstance(single, Text) else parts), place)

    def _append(self, message: ChatMessage, place: str) -> None:
        self.messages.append(message)
        self.places.append(place)

    def _assistant(self, place: str) -> ChatMessage:
        """Returns the assistant's message that is being put together."""
        if not self.messages or self.messages[-1].role != "assistant":
            self._append(ChatMessage("assistant", None), place)
        return self.messages[-1]

    def _call(self, position: int, place: str, item: FunctionCall | CustomCall, arguments: str) -> None:
        message = self._assistant(place)
        call_id = call_ids.for_chat(item.call_id)
        if any(call.id == call_id for call in message.tool_calls):
            raise unsupported(f"{place}.call_id", "Two calls of one turn have the same id.")
        if not message.tool_calls:
            message.reasoning_content, self._reasoning = self._reasoning or None, ""
        function = CalledFunction(function_name(item.name, item.namespace), arguments)
        message.tool_calls.append(ToolCall(call_id, function))
        self._calls.append((position, place, item))

    def _end_turn(self) -> None:
        self._answer_calls()
        self._reasoning = ""

    def _answer_calls(self) -> None:
        """Adds the results of the last message's calls, then their images and files: a tool message holds text only."""
        moved: list[Part] = []
        calls, self._calls = self._calls, []
        for position, place, item in calls:
            outputs = self._outputs[item.call_id]
            if not outputs or outputs[0][0] < position:
                raise unsupported(f"{place}.call_id", "The output of this call is missing.")
            found = outputs.popleft()[1]
            output = found.item
            assert isinstance(output, CallOutput)
            parts = _parts(output.output, f"{found.place}.output")
            text = "\n\n".join(part.text for part in parts if isinstance(part, Text))
            self._append(ChatMessage("tool", text, tool_call_id=call_ids.for_chat(item.call_id)), found.place)
            moved += [part for part in parts if not isinstance(part, Text)]
        if moved:
            self._append(ChatMessage("user", moved), calls[-1][1])


def _is_user(item: Item) -> bool:
    return isinstance(item, Message) and item.role == "user"


def _is_readable(item: Reasoning) -> bool:
    """Returns whether the reasoning is a chat provider's: some refuse a call without the reasoning before it."""
    return bool(item.text) and not item.encrypted_content and (item.id or OWN_REASONING).startswith(OWN_REASONING)


def _joined(content: object, text: str) -> str | None:
    return "\n\n".join(part for part in (content, text) if isinstance(part, str) and part) or None


def _text(content: str | Sequence[UserPart], place: str) -> str:
    """Returns the text of a message that holds text only. Raises InvalidRequest."""
    if isinstance(content, str):
        return content
    texts = []
    for position, part in enumerate(content):
        if isinstance(part, InputImage | InputFile):
            raise unsupported(f"{place}.content[{position}].type", "Only a user's message may hold images and files.")
        texts.append(part.refusal if isinstance(part, Refusal) else part.text)
    return "".join(texts)


def _parts(content: str | Sequence[UserPart], place: str) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)] if content else []
    return [_part(part, f"{place}[{position}]") for position, part in enumerate(content)]


def _part(part: UserPart, place: str) -> Part:
    if isinstance(part, InputImage):
        return ImagePart(ImageUrl(_image_url(part, place), part.detail if part.detail in _DETAILS else None))
    if isinstance(part, InputFile):
        return FilePart(_file(part, place))
    return Text(part.refusal if isinstance(part, Refusal) else part.text)


def _image_url(part: InputImage, place: str) -> str:
    url = part.image_url
    if not url:
        raise unsupported(f"{place}.file_id", "An image must be given as image_url: uploaded files are not supported.")
    if url[:5].lower() != "data:" and not is_web_address(url):
        raise InvalidRequest("An image must be an http(s) URL with a host, or a data URL.", param=f"{place}.image_url")
    return url


def _file(part: InputFile, place: str) -> File:
    if not part.file_data:
        field = "file_url" if part.file_url else "file_id"
        raise unsupported(f"{place}.{field}", "A file must be given as file_data.")
    return File(part.filename or _DEFAULT_FILENAME, part.file_data)
