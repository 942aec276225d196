"""The ids with which a request names what a provider keeps for its callers: responses, conversations, containers,
items, files, and reasoning that only its own account can decrypt.

Only the account that holds it can serve such a request. Text that is no id is left to the provider, which refuses it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

NAMES_MOST = 64  # of one request; the strongest come first
ID_MOST = 512  # characters: documented ids have at most 100
_NOT_READ = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Part(msgspec.Struct, frozen=True, gc=False):
    """A part of an item's content."""

    file_id: Any = None


class Item(msgspec.Struct, frozen=True):
    """An item of a response's input or output."""

    type: Any = None
    id: Any = None
    encrypted_content: Any = None
    container_id: Any = None
    content: list[Part] | str | None = None


def as_id(value: object) -> str | None:
    """Returns an id, also from an object that holds it; None for anything else."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) and 0 < len(value) <= ID_MOST else None


def as_encrypted(value: object) -> str | None:
    """Returns a name for encrypted content, which may be long."""
    if not isinstance(value, str) or not value:
        return None
    return f"encrypted:{hashlib.blake2b(value.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"


def given(names: Iterable[str | None], most: int) -> tuple[str, ...]:
    """Returns the first ``most`` names, each once."""
    return tuple(dict.fromkeys(name for name in names if name is not None))[:most]


def id_in(raw: bytes | None) -> str | None:
    """Returns the id in the JSON of one field."""
    if not raw:
        return None
    try:
        return as_id(msgspec.json.decode(raw))
    except _NOT_READ:
        return None


def named_by_items(items: Sequence[Item]) -> list[str | None]:
    """Returns what the items of an input name, the newest encrypted content first. Most items name nothing."""
    containers: list[str | None] = []
    references: list[str | None] = []
    encrypted: list[str | None] = []
    files: list[str | None] = []
    for item in items:
        if item.container_id is not None:
            containers.append(as_id(item.container_id))
        if item.id is not None and _is_reference(item):
            references.append(as_id(item.id))
        if item.encrypted_content is not None:
            encrypted.append(as_encrypted(item.encrypted_content))
        if type(item.content) is list:
            files += [as_id(part.file_id) for part in item.content if part.file_id is not None]
    return containers + references + encrypted[::-1] + files


def _is_reference(item: Item) -> bool:
    if item.type == "reasoning":
        return item.encrypted_content is None
    return item.type == "item_reference" or (item.type is None and item.content is None)


def named_by_tools(tools: bytes | None) -> Iterator[str | None]:
    """Yields the containers, files and vector stores of a response's tools."""
    text = bytes(tools) if tools else b""
    if not (b"container" in text or b"vector_store_ids" in text):
        return
    try:
        read = msgspec.json.decode(text)
    except _NOT_READ:
        return
    found = [tool for tool in read if isinstance(tool, dict)] if isinstance(read, list) else []
    places = [tool.get(key) for tool in found for key in ("container", "environment")]
    yield from (as_id(place) for place in places)
    objects = [place for place in places if isinstance(place, dict)]
    yield from (as_id(place.get("container_id")) for place in objects)
    lists = [place.get("file_ids") for place in objects] + [tool.get("vector_store_ids") for tool in found]
    yield from (as_id(each) for ids in lists if isinstance(ids, list) for each in ids)


class _Source(msgspec.Struct, frozen=True):
    file_id: Any = None


class _Block(msgspec.Struct, frozen=True):
    source: _Source | None = None
    file_id: Any = None


class _Message(msgspec.Struct, frozen=True):
    content: list[_Block] | str | None = None


class _Messages(msgspec.Struct, frozen=True):
    messages: list[_Message]


_messages = msgspec.json.Decoder(_Messages)


def files_of_messages(body: bytes) -> tuple[str, ...]:
    """Returns the files that a request in Anthropic's dialect names; only requests with the beta of files have any."""
    if b'"file_id"' not in body:
        return ()
    try:
        contents = [message.content for message in _messages.decode(body).messages]
    except _NOT_READ:
        return ()
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    ids = (as_id(block.source.file_id if block.source else block.file_id) for block in blocks)
    return given(ids, NAMES_MOST)
