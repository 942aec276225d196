"""One request, or one answer, cannot hold the event loop up."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

import pytest

from gateway.errors import InvalidRequest
from gateway.json.malformed import Malformed
from gateway.request.calls import Kind, parse, tokens_of, with_fields
from gateway.request.off_loop import off_loop, off_loop_if
from gateway.upstream.dialects.chat_as_messages import translation as chat_as_messages
from gateway.upstream.dialects.messages_as_chat import translation as messages_as_chat
from tests.support.stores import on_loop
from tests.support.token_counts import as_counted

# CPU time, of all threads of this process, between two turns of the loop: 20 ms is the aim. Other processes do not
# count, but where they keep the loop's thread from its core, the other thread runs meanwhile: the least of some runs is
# the stall that each run has.
STALL_MOST_S = 0.08
RUNS = 5
SIZE = 10_000_000


async def stall_s(work: Callable[[], object]) -> float:
    """Returns the longest stall that each run of ``work`` off the loop has. A short one needs no second run."""
    least = await _longest_s(work)
    for _ in range(RUNS - 1):
        if least < STALL_MOST_S:
            break
        least = min(least, await _longest_s(work))
    return least


async def _longest_s(work: Callable[[], object]) -> float:
    longest, is_over = 0.0, asyncio.Event()

    async def beat() -> None:
        nonlocal longest
        last = time.process_time()
        while not is_over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(is_over.wait(), 0.001)
            now = time.process_time()
            longest = max(longest, now - last)
            last = now

    beats = asyncio.create_task(beat())
    with contextlib.suppress(InvalidRequest, Malformed):
        await off_loop(work)
    is_over.set()
    await beats
    return longest


def listed(item: bytes, size: int = SIZE) -> bytes:
    return b"[" + b",".join([item] * (size // (len(item) + 1))) + b"]"


def chat(content: bytes, more: bytes = b"") -> bytes:
    return b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":%b}]%b}' % (content, more)


TEXT_PART = b'{"type":"text","text":"' + b"x" * 300 + b'"}'
BODIES = {
    "one text": chat(b'"' + b"a" * SIZE + b'"'),
    "code": chat(b'"' + b'some code, some {words}: here\\n\\"' * (SIZE // 33) + b'"'),
    "japanese": chat('"{}"'.format("日本語" * (SIZE // 9)).encode()),
    "digits": chat(b"1" * SIZE),
    "numbers": chat(listed(b"1")),
    "lists": chat(listed(b"[]")),
    "objects": chat(listed(b"{}")),
    "texts": chat(listed(b'""')),
    "parts": chat(listed(TEXT_PART)),
    "keys": chat(b'"hi"', b"," + listed(b'"a":1')[1:-1]),
    "messages": b'{"model":"m","max_tokens":5,"messages":%b}' % listed(b"{}"),
    "long conversation": b'{"model":"m","max_tokens":5,"messages":%b}'
    % listed(b'{"role":"user","content":"' + b"x" * 1000 + b'"}'),
    "levels": chat(b"[" * SIZE),
}
WORK: dict[str, Callable[[bytes], object]] = {
    "parse": lambda body: parse(Kind.CHAT, body),
    "change fields": lambda body: with_fields(parse(Kind.CHAT, body).body, {"model": "x"}),
    "to messages": lambda body: chat_as_messages.request(parse(Kind.CHAT, body).body, "x"),
    "to chat": lambda body: messages_as_chat.request(parse(Kind.MESSAGE, body).body, "x"),
}


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("body", BODIES)
@on_loop
async def test_request_holds_the_loop_for_a_moment_at_most(work: str, body: str) -> None:
    assert await stall_s(lambda: WORK[work](BODIES[body])) < STALL_MOST_S


ANSWERS: dict[str, tuple[Kind, bytes]] = {
    "vectors": (Kind.EMBEDDING, b'{"data":[{"embedding":%b}],"usage":{"prompt_tokens":7}}' % listed(b"0.0123456")),
    "odd vectors": (Kind.EMBEDDING, b'{"data":[{"embedding":%b}],"usage":{"prompt_tokens":7}}' % listed(b"NaN")),
    "text": (Kind.CHAT, b'{"choices":[{"message":{"content":"%b"}}],"usage":{"prompt_tokens":7}}' % (b"a" * SIZE)),
}


@pytest.mark.parametrize("name", ANSWERS)
@on_loop
async def test_answer_holds_the_loop_for_a_moment_at_most(name: str) -> None:
    counted: list[tuple[int, int, int]] = []
    longest_s = await stall_s(lambda: counted.append(as_counted(tokens_of(*ANSWERS[name]))))

    assert longest_s < STALL_MOST_S
    assert set(counted) == {(7, 0, 0)}


@on_loop
async def test_small_work_stays_on_the_loop() -> None:
    threads = [await off_loop_if(is_large, threading.current_thread) for is_large in (False, True)]

    assert [each is threading.current_thread() for each in threads] == [True, False]


@on_loop
async def test_fault_of_the_work_is_the_callers() -> None:
    with pytest.raises(InvalidRequest) as caught:
        await off_loop(parse, Kind.CHAT, b"{")

    assert caught.value.code == "invalid_json"
