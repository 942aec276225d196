"""Text, images and documents."""

from typing import Any

import msgspec
import pytest

from gateway.errors import InvalidRequest
from gateway.upstream.dialects.chat_as_messages.parts import text_blocks, user_blocks
from gateway.upstream.dialects.chat_as_messages.schema import File, FilePart, ImagePart, ImageUrl, RefusalPart, TextPart


def image(url: str) -> Any:
    return msgspec.to_builtins(user_blocks([ImagePart(ImageUrl(url))], "messages[0].content"))[0]


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (None, []),
        ("", []),
        (" \n", []),
        (" a ", [" a "]),
        ([TextPart("a"), TextPart(" "), RefusalPart("No.")], ["a", "No."]),
    ],
)
def test_text_is_kept_unless_it_is_blank(content: Any, texts: list[str]) -> None:
    assert [block.text for block in text_blocks(content)] == texts


def test_parts_keep_their_order() -> None:
    blocks = user_blocks([TextPart("a"), ImagePart(ImageUrl("http://x/y")), TextPart(""), TextPart("b")], "")

    assert [msgspec.to_builtins(block)["type"] for block in blocks] == ["text", "image", "text"]


@pytest.mark.parametrize("url", ["https://example.org/a.png", "http://example.org/", "HTTPS://EXAMPLE.ORG/A"])
def test_image_on_the_web_is_referred_to(url: str) -> None:
    assert image(url) == {"type": "image", "source": {"type": "url", "url": url}}


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        ("data:image/jpeg;base64", "image/jpeg"),
        ("data:image/jpg;base64", "image/jpeg"),
        ("data:image/png;base64", "image/png"),
        ("data:image/gif;base64", "image/gif"),
        ("DATA:IMAGE/WEBP;name=a;BASE64", "image/webp"),
    ],
)
def test_image_in_a_data_url_is_sent_along(head: str, media_type: str) -> None:
    source = {"type": "base64", "media_type": media_type, "data": "iVBORw0KGgo="}

    assert image(f"{head},iVBORw0KGgo=") == {"type": "image", "source": source}


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://example.org/a", "file:///etc/passwd", "http://", "https://a\u0000b", "https://?a",
     "data:", "data:image/png,abcd", "data:image/png;base64",
     "data:image/png;base64,", "data:image/png;base64,abc", "data:image/png;base64,a%2B=", "data:image/png;base64,é",
     "data:image/svg+xml;base64,abcd", "data:;base64,abcd", "data:application/pdf;base64,abcd",
     "data:image/png;base64;x,abcd"],
)  # fmt: skip
def test_image_that_cannot_be_sent_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        image(url)

    assert (refused.value.param, refused.value.code) == ("messages[0].content[0].image_url.url", "unsupported_value")


def test_pdf_becomes_a_document_with_its_name() -> None:
    part = FilePart(File("data:application/pdf;base64,JVBERg==", "a.pdf"))

    assert msgspec.to_builtins(user_blocks([part], "")) == [
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
            "title": "a.pdf",
        }
    ]


@pytest.mark.parametrize(
    ("file", "param"),
    [
        (File(), "content[0].file"),
        (File("JVBERg=="), "content[0].file.file_data"),
        (File("data:text/plain;base64,abcd"), "content[0].file.file_data"),
        (File("https://example.org/a.pdf"), "content[0].file.file_data"),
    ],
)
def test_any_other_file_is_refused(file: File, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        user_blocks([FilePart(file)], "content")

    assert (refused.value.param, refused.value.code) == (param, "unsupported_value")
