"""Content blocks as a client sends them, and the equivalent chat content parts.

A block, source or media type outside of these unions has no counterpart: decoding refuses it and names its place.
Fields that only label are dropped after their types have been checked, as the provider of the dialect checks them.
"""

import binascii
from typing import Literal

import msgspec

from gateway.upstream.dialects.web_address import is_web_address

Object = dict[str, msgspec.Raw]


class Unsupported(ValueError):
    """Raised while a Struct is made; msgspec adds the Struct's place to the message. ``field``: the invalid one."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Labelled(msgspec.Struct, frozen=True, kw_only=True):
    cache_control: Object | None = None


class Text(msgspec.Struct, frozen=True, tag="text"):
    """A text part, and the base of a text block."""

    text: str


class TextBlock(Text, frozen=True, tag="text", kw_only=True):
    cache_control: Object | None = None
    citations: list[Object] | None = None


class Inline(msgspec.Struct, frozen=True, tag="base64"):
    data: str

    def __post_init__(self) -> None:
        try:
            is_empty = not binascii.a2b_base64(self.data, strict_mode=True)
        except ValueError as error:  # binascii.Error is a ValueError; text outside ASCII raises a plain one
            raise Unsupported(f"The data is not valid base64: {error}") from error
        if is_empty:
            raise Unsupported("The data is empty")


class InlineImage(Inline, frozen=True, tag="base64", kw_only=True):
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]


class UrlImage(msgspec.Struct, frozen=True, tag="url"):
    url: str

    def __post_init__(self) -> None:
        if not is_web_address(self.url):
            raise Unsupported("An image's URL must be http(s), with a host", "url")


class Image(Labelled, frozen=True, tag="image"):
    source: InlineImage | UrlImage
    transformations: Object | None = None


class InlinePdf(Inline, frozen=True, tag="base64", kw_only=True):
    media_type: Literal["application/pdf"]


class PlainText(msgspec.Struct, frozen=True, tag="text"):
    data: str
    media_type: Literal["text/plain"] | None = None


class Blocks(msgspec.Struct, frozen=True, tag="content"):
    content: str | list[TextBlock | Image]


class Citations(msgspec.Struct, frozen=True):
    enabled: bool | None = None

    def __post_init__(self) -> None:
        if self.enabled:
            raise Unsupported("This model's provider does not support citations")


class Document(Labelled, frozen=True, tag="document"):
    source: InlinePdf | PlainText | Blocks
    title: str | None = None
    context: str | None = None
    citations: Citations | None = None


class ToolUse(Labelled, frozen=True, tag="tool_use"):
    id: str
    name: str
    input: Object
    caller: Object | None = None
    toolset_name: str | None = None


class ToolResult(Labelled, frozen=True, tag="tool_result"):
    tool_use_id: str
    content: str | list[TextBlock | Image | Document] | None = None
    is_error: bool | None = None
    toolset_name: str | None = None


class Thinking(msgspec.Struct, frozen=True, tag="thinking"):
    """Left out, except for models that need their own: it is signed for the model that produced it."""

    thinking: str | None = None
    signature: str | None = None


class RedactedThinking(msgspec.Struct, frozen=True, tag="redacted_thinking"):
    """Left out, as readable thinking is."""

    data: str | None = None


class ImageUrl(msgspec.Struct, frozen=True):
    url: str


class ImagePart(msgspec.Struct, frozen=True, tag="image_url"):
    image_url: ImageUrl


class File(msgspec.Struct, frozen=True):
    filename: str
    file_data: str


class FilePart(msgspec.Struct, frozen=True, tag="file"):
    file: File


Part = Text | ImagePart | FilePart


def parts_of(block: Text | Image | Document) -> list[Part]:
    """Returns the parts of a block. A document gives several: its title and context come before it."""
    if isinstance(block, Text):
        return [Text(block.text)]
    if isinstance(block, Image):
        return [_image(block)]
    source = block.source
    if isinstance(source, InlinePdf):
        file = File(block.title or "document.pdf", f"data:{source.media_type};base64,{source.data}")
        return [*_texts(block.context), FilePart(file)]
    before = _texts(block.title, block.context)
    if isinstance(source, PlainText):
        return [*before, Text(source.data)]
    if isinstance(source.content, str):
        return [*before, Text(source.content)]
    return [*before, *(part for inner in source.content for part in parts_of(inner))]


def _image(block: Image) -> ImagePart:
    source = block.source
    if isinstance(source, InlineImage):
        return ImagePart(ImageUrl(f"data:{source.media_type};base64,{source.data}"))
    return ImagePart(ImageUrl(source.url))


def _texts(*texts: str | None) -> list[Part]:
    return [Text(text) for text in texts if text]
