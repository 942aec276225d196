"""Translates content parts of chat messages to content blocks.

Text that consists of white space only is left out, because the provider refuses such blocks.
"""

import binascii
from collections.abc import Sequence

from gateway.upstream.dialects.chat_as_messages.blocks import (
    Block,
    DocumentBlock,
    ImageBlock,
    InlineSource,
    Object,
    TextBlock,
    UrlSource,
)
from gateway.upstream.dialects.chat_as_messages.schema import FilePart, ImagePart, RefusalPart, TextPart, unsupported
from gateway.upstream.dialects.web_address import is_web_address

IMAGE_TYPES = {
    "image/jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",  # not a registered name, but a common one
    "image/png": "image/png",
    "image/gif": "image/gif",
    "image/webp": "image/webp",
}
PDF = {"application/pdf": "application/pdf"}


def text_blocks(content: str | Sequence[TextPart | RefusalPart] | None) -> list[TextBlock]:
    if content is None:
        return []
    if isinstance(content, str):
        return _text(content)
    texts = ((part.text if isinstance(part, TextPart) else part.refusal, part.cache_control) for part in content)
    return [block for text, cache_control in texts for block in _text(text, cache_control)]


def user_blocks(content: str | Sequence[TextPart | ImagePart | FilePart], param: str) -> list[Block]:
    """Translates a user's content. ``param``: its place in the request. Raises InvalidRequest."""
    if isinstance(content, str):
        return [*_text(content)]
    blocks: list[Block] = []
    for position, part in enumerate(content):
        place = f"{param}[{position}]"
        match part:
            case TextPart():
                blocks += _text(part.text, part.cache_control)
            case ImagePart():
                image = _image(part.image_url.url, f"{place}.image_url.url")
                blocks.append(ImageBlock(image, cache_control=part.cache_control))
            case _:
                blocks.append(_document(part, f"{place}.file"))
    return blocks


def _text(text: str, cache_control: Object | None = None) -> list[TextBlock]:
    return [] if not text or text.isspace() else [TextBlock(text, cache_control=cache_control)]


def _image(url: str, param: str) -> UrlSource | InlineSource:
    if url[:5].lower() == "data:":
        return _inline(url, IMAGE_TYPES, param)
    if is_web_address(url):
        return UrlSource(url)
    raise unsupported(param, "An image must be an http(s) URL with a host, or a data URL.")


def _document(part: FilePart, param: str) -> DocumentBlock:
    if part.file.file_data is None:
        raise unsupported(param, "A file must be given as file_data: references to uploaded files are not supported.")
    source = _inline(part.file.file_data, PDF, f"{param}.file_data")
    return DocumentBlock(source, part.file.filename or None, cache_control=part.cache_control)


def _inline(url: str, media_types: dict[str, str], param: str) -> InlineSource:
    """Parses `data:<type>[;…];base64,<data>`. Raises InvalidRequest."""
    head, _, data = url.partition(",")
    scheme, _, described = head.partition(":")
    media_type, *parameters = described.lower().split(";")
    if scheme.lower() != "data" or "base64" not in parameters[-1:]:
        raise unsupported(param, "Expected a data URL in base64: data:<media type>;base64,<data>.")
    if media_type not in media_types:
        raise unsupported(param, f"The media type must be one of {', '.join(sorted(set(media_types.values())))}.")
    try:
        if not binascii.a2b_base64(data, strict_mode=True):
            raise unsupported(param, "The data URL holds no data.")
    except ValueError as error:  # binascii.Error is a ValueError; text outside ASCII raises a plain one
        raise unsupported(param, f"The data URL is not valid base64: {error}") from error
    return InlineSource(media_types[media_type], data)
