"""Requests that are nearly right, made at random from a seed: heads, framing and JSON bodies."""

import copy
import json
import random
from typing import Any, NamedTuple

from tests.support.mangled_json import LEAVES, places

SMUGGLED = "smuggled"  # the content of a request that is the body of another one
LINE_ENDS = (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0\r\n", b" \r\n", b"\x0b\r\n", b"\r\n ", b"\r\n\t")
CODINGS = (
    b"chunked", b"Chunked", b"chunked ", b" chunked", b"\tchunked", b"chunked,", b",chunked", b"chunked, chunked",
    b"identity", b"gzip, chunked", b"chunked, gzip", b"xchunked", b'"chunked"', b"chunked;q=1", b"chunked\0",
    b"\x0bchunked", b"chunked\x0c", b"\r\n chunked", b"", b"chun ked", b"x\r\ntransfer-encoding: chunked",
)  # fmt: skip
CODING_NAMES = (
    b"transfer-encoding: ", b"Transfer-Encoding:", b"transfer-encoding : ", b"transfer-encoding\t: ",
    b" transfer-encoding: ", b"transfer_encoding: ", b"transfer-encoding\0: ", b"x: y\ntransfer-encoding: ",
    b"x: y\rtransfer-encoding: ", b"\ntransfer-encoding: ", b"transfer\xadencoding: ", b":transfer-encoding: ",
)  # fmt: skip
LENGTHS = (
    b"+%d", b"-%d", b"%d, %d", b"%d,%d", b"0x%d", b"%d_", b"%d x", b"%d\0", b"0%d", b"%d.0", b"%de0", b" %d ", b"\t%d",
    b"\x0c%d", b"%d\r\ncontent-length: 1", b"%d;", b"'%d'", b"%d\r\n 0",
)  # fmt: skip
SIZES = (
    b"0x%x", b"+%x", b"-%x", b" %x", b"%x ", b"%x;", b"%x;a=b", b'%x;a="b\r\n"', b"%x;\n", b"%x\0", b"%x,0", b"0%x",
    b"%xg", b"%x\r", b"%x\n", b"ffffffffffffffff%x", b"%x;a\rb", b"\r\n%x",
)  # fmt: skip
TEMPLATES: tuple[Any, ...] = (
    {"model": "raw", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "stop": ["x"], "n": 1},
    {"model": "raw", "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}], "temperature": 0.5,
     "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
    {"model": "raw", "messages": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function":
     {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "1", "content": "x"}], "stream": False},
)  # fmt: skip


class Sent(NamedTuple):
    """``marks``: contents of the whole valid requests in ``data``, in their order; ``is_valid``: they are all of it."""

    data: bytes
    marks: tuple[str, ...]
    is_valid: bool


def call(mark: str, *lines: bytes, path: bytes = b"/v1/chat/completions") -> bytes:
    body = json.dumps({"model": "raw", "messages": [{"role": "user", "content": mark}]}).encode()
    return b"\r\n".join(
        [b"POST %b HTTP/1.1" % path, b"host: localhost", b"content-length: %d" % len(body), *lines, b"", body]
    )


def drawn(rng: random.Random, number: int) -> Sent:
    """Returns what is sent on one connection."""
    kind = rng.choice((pipelined, carrier, carrier, chunked, noise, json_body, json_body))
    return kind(rng, number)


def pipelined(rng: random.Random, number: int) -> Sent:
    marks = tuple(f"mark-{number}-{each}" for each in range(rng.randint(1, 4)))
    return Sent(b"".join(call(mark) for mark in marks), marks, is_valid=True)


def carrier(rng: random.Random, _number: int) -> Sent:
    """Two lengths, of which one reading ends the body before a second request. Only one of them is mutated, so that
    no reading by the RFC makes a request of it.
    """
    body = b"0\r\n\r\n" + call(SMUGGLED)
    length = b"content-length: %d" % len(body)
    if rng.random() < 0.6:
        lines = [length, rng.choice(CODING_NAMES) + rng.choice(CODINGS)]
    else:
        value = rng.choice(LENGTHS)
        lines = [b"content-length: " + value.replace(b"%d", b"%d" % len(body)), b"transfer-encoding: chunked"]
    rng.shuffle(lines)
    lines = [b"POST /v1/chat/completions HTTP/1.1", b"host: localhost", *lines]
    end = rng.choice(LINE_ENDS) if rng.random() < 0.2 else b"\r\n"
    at = rng.randrange(len(lines))
    head = b"".join(line + (end if each == at else b"\r\n") for each, line in enumerate(lines))
    if end != b"\r\n" and b"content-length" in lines[at]:
        return Sent(head.replace(end, b"\r\n") + b"\r\n" + body, (), is_valid=False)
    return Sent(head + b"\r\n" + body, (), is_valid=False)


def chunked(rng: random.Random, number: int) -> Sent:
    """Chunks, one of whose sizes may be mutated; a second request is their content."""
    inner = call(SMUGGLED)
    parts = [inner[at : at + 60] for at in range(0, len(inner), 60)]
    wrong = rng.randrange(len(parts))
    data = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    for each, part in enumerate(parts):
        size = rng.choice(SIZES) if each == wrong else b"%x"
        data += size % len(part) + b"\r\n" + part + b"\r\n"
    return Sent(data + b"0\r\n\r\n" + call(f"mark-{number}"), (), is_valid=False)


def noise(rng: random.Random, number: int) -> Sent:
    """A request with a few bytes changed, removed, doubled or put in."""
    data = bytearray(call(f"noise-{number}", b"x-a: b", b"connection: keep-alive"))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        end = min(len(data), at + rng.randint(1, 12))
        change = rng.randrange(4)
        if change == 0:
            data[at] = rng.randrange(256)
        elif change == 1:
            del data[at:end]
        elif change == 2:
            data[at:at] = data[at:end]
        else:
            data[at:at] = rng.choice((b"\0", b"\r\n", b"\n", b"\r", b" ", b":", b"\xff", b"\r\n\r\n", b"\x7f"))
    return Sent(bytes(data), (), is_valid=False)


def json_body(rng: random.Random, _number: int) -> Sent:
    whole = [copy.deepcopy(rng.choice(TEMPLATES))]
    for _ in range(rng.randint(1, 3)):
        path = rng.choice([place for place in places(whole) if place])
        parent: Any = whole
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = copy.deepcopy(rng.choice(LEAVES))
    body = json.dumps(whole[0], ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.3:
        at = rng.randrange(len(body) + 1)
        body = body[:at] + rng.choice((b"", b"\0", b"}", b'"', b",", b"\xff", b"\\")) + body[at + rng.randint(0, 3) :]
    target = rng.choice((b"/v1/chat/completions", b"/v1/messages"))
    head = b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (target, len(body))
    return Sent(head + body, (), is_valid=False)


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    """Returns ``data`` cut at up to six places."""
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(0, 6)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if end > start]
