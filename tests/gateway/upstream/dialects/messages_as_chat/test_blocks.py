"""Content blocks and their equivalent parts."""

import msgspec
import pytest

from gateway.upstream.dialects.messages_as_chat.blocks import Document, Image, Text, parts_of

Block = dict[str, object]


def parts(block: Block) -> object:
    made = msgspec.convert(block, Text | Image | Document)
    return msgspec.to_builtins(parts_of(made))


def document(source: Block, **more: object) -> Block:
    return {"type": "document", "source": source, **more}


PDF: Block = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
PLAIN: Block = {"type": "text", "media_type": "text/plain", "data": "the grass is green"}


def test_text_stays_without_its_cache_control() -> None:
    block: Block = {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}

    assert parts(block) == [{"type": "text", "text": "hi"}]


def test_image_in_base64_becomes_a_data_url() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "iVBO"}

    assert parts({"type": "image", "source": source}) == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
    ]


def test_image_on_the_web_keeps_its_address() -> None:
    source = {"type": "url", "url": "https://example.com/a.png"}

    assert parts({"type": "image", "source": source}) == [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    ]


def test_pdf_becomes_a_file_named_after_its_title() -> None:
    assert parts(document(PDF, title="report.pdf")) == [
        {
            "type": "file",
            "file": {"filename": "report.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
        }
    ]


def test_pdf_without_a_title_still_has_a_name() -> None:
    [part] = parts_of(msgspec.convert(document(PDF), Document))

    assert msgspec.to_builtins(part)["file"]["filename"] == "document.pdf"


def test_plain_text_follows_its_title_and_context() -> None:
    assert parts(document(PLAIN, title="Grass", context="a colour chart")) == [
        {"type": "text", "text": "Grass"},
        {"type": "text", "text": "a colour chart"},
        {"type": "text", "text": "the grass is green"},
    ]


def test_document_of_blocks_gives_their_parts() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    source: Block = {"type": "content", "content": [{"type": "text", "text": "one"}, image]}

    assert parts(document(source)) == [
        {"type": "text", "text": "one"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]


def test_document_of_one_string_gives_one_text() -> None:
    assert parts(document({"type": "content", "content": "one"})) == [{"type": "text", "text": "one"}]


def test_citations_that_are_off_change_nothing() -> None:
    assert parts(document(PLAIN, citations={"enabled": False})) == parts(document(PLAIN))


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "image", "source": {"type": "url", "url": "file:///etc/passwd"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/tiff", "data": ""}},
        document({"type": "url", "url": "https://example.com/a.pdf"}),
        document({"type": "file", "file_id": "file_1"}),
        document({**PDF, "media_type": "text/html"}),
        document(PLAIN, citations={"enabled": True}),
        {"type": "search_result", "source": "https://example.com", "title": "a", "content": []},
    ],
)
def test_block_without_a_counterpart_is_refused(block: Block) -> None:
    with pytest.raises(msgspec.ValidationError):
        parts(block)


@pytest.mark.parametrize("data", ["", "iVB", "iV BO=", "データ", "data:image/png;base64,iVBO"])
def test_data_that_is_not_base64_is_refused_by_its_place(data: str) -> None:
    image: Block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}

    with pytest.raises(msgspec.ValidationError, match=r"at `\$.source`"):
        parts(image)
