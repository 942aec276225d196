"""The commit of an answer, over the wire: the next candidate hides faults before the first content, clocks bound a
stream, and clients get a defined result of streams with odd framing or endings.
"""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.loadtest.process import wait_until
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import DONE_EVENT, RawProvider, chunk_event, stream
from tests.support.recorded_streams import (
    BLOCK_STOP,
    COMPLETED,
    CREATED,
    FAILED,
    HELLO,
    IN_PROGRESS,
    ITEM,
    MESSAGE_END,
    MESSAGE_STOP,
    PART,
    PING,
    ROLE,
    START,
    TEXT,
    TEXT_BLOCK,
    THINKING_BLOCK,
    TOOL_BLOCK,
    USAGE,
    data,
    delta,
    event,
)
from tests.support.wire import Answer, Call, request_bytes

HI: Any = [{"role": "user", "content": "hi"}]
COMMENT = b": OPENROUTER PROCESSING\n\n"
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
END = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def chatgpt(gateway_cluster: Cluster) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway_cluster.replicas[0].url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def claude(gateway_cluster: Cluster) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway_cluster.replicas[0].url, api_key="any", max_retries=0) as client:
        yield client


def request(path: str, model: str, headers: dict[str, str] | None = None) -> bytes:
    body = {"model": model, "stream": True, "max_tokens": 9, "stream_options": {"include_usage": True}}
    body |= {"input": "hi"} if path == RESPONSES else {"messages": HI}
    return request_bytes("POST", path, json.dumps(body).encode(), headers)


def ask(replica: ReplicaProcess, path: str, model: str, headers: dict[str, str] | None = None) -> Answer:
    with Call(replica.address, request(path, model, headers)) as call:
        return call.answer()


def failures(cluster: Cluster, deployment: str) -> str:
    cluster.wait_until_idle()
    return cluster.deployment(deployment).get("failures", "0")


# -- what is held -----------------------------------------------------------------------------------------------

PREAMBLES: dict[str, tuple[str, str, list[bytes], list[bytes]]] = {
    "chat": (CHAT, "raw", [COMMENT, ROLE, delta(content="")], [delta(content="hi"), delta("stop"), USAGE, DONE_EVENT]),
    "reasoning": (CHAT, "raw", [COMMENT, ROLE], [delta(reasoning_content="hm"), delta("stop"), DONE_EVENT]),
    "call": (CHAT, "raw", [ROLE], [delta(tool_calls=[{"index": 0, "id": "c"}]), delta("tool_calls"), DONE_EVENT]),
    "refusal": (CHAT, "raw", [ROLE], [delta(refusal="no"), delta("stop"), DONE_EVENT]),
    "messages": (MESSAGES, "raw-claude", [START, PING, TEXT_BLOCK], [HELLO, BLOCK_STOP, MESSAGE_END, MESSAGE_STOP]),
    "tool use": (MESSAGES, "raw-claude", [START, PING], [TOOL_BLOCK, BLOCK_STOP, MESSAGE_END, MESSAGE_STOP]),
    "responses": (RESPONSES, "raw", [CREATED, IN_PROGRESS, ITEM, PART], [TEXT, COMPLETED]),
    "incomplete": (RESPONSES, "raw", [CREATED, IN_PROGRESS], [event("response.incomplete", response={"error": None})]),
}


@pytest.mark.parametrize("name", PREAMBLES)
def test_preamble_is_held_and_sent_unchanged_with_the_first_content(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, name: str
) -> None:
    path, model, preamble, rest = PREAMBLES[name]
    raw_provider.answer_in_two(b"".join(preamble), *rest)
    with Call(replica.address, request(path, model)) as call:
        wait_until(lambda: len(raw_provider.requests) == 1)
        assert not call.has_data()
        raw_provider.go.set()
        answer = call.answer()

    assert (answer.status, answer.body) == (200, b"".join(preamble + rest))
    assert failures(cluster, model) == "0"


def test_preamble_of_more_than_64_kib_is_committed(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    comments = COMMENT * (65_536 // len(COMMENT) + 1)
    raw_provider.answer_in_two(comments, delta(content="hi"), DONE_EVENT)
    with Call(replica.address, request(CHAT, "raw")) as call:
        call.peek_until(COMMENT)
        raw_provider.go.set()

        assert call.answer().body == comments + delta(content="hi") + DONE_EVENT


@pytest.mark.parametrize("place", ["first", "later"])
def test_event_of_several_megabytes_passes(
    chatgpt: openai.OpenAI, cluster: Cluster, raw_provider: RawProvider, place: str
) -> None:
    """An image, or a whole answer in one chunk."""
    url = "data:image/png;base64," + "iVBORw0KGgo" * 300_000
    image = delta(content="", images=[{"type": "image_url", "image_url": {"url": url}}])
    begun = [] if place == "first" else [delta(content="begin")]
    raw_provider.answer = stream(*begun, image, delta("stop"), DONE_EVENT)
    chunks = list(chatgpt.chat.completions.create(model="raw", messages=HI, stream=True))
    images = [image for chunk in chunks for image in getattr(chunk.choices[0].delta, "images", None) or ()]

    assert [each["image_url"]["url"] for each in images] == [url]
    assert failures(cluster, "raw") == "0"


# -- what goes wrong before the first content ---------------------------------------------------------------------

ERROR = data({"error": {"message": "Internal error", "code": 500}})
RESET = b"zz\r\n"  # no length of a chunk: like a cut, but at once


def headless(*events: bytes) -> bytes:
    """A stream without the end of its body."""
    return stream(*events).removesuffix(END)


@pytest.mark.parametrize(
    "preamble", [[COMMENT], [ROLE], [COMMENT, ROLE, delta(content="")]], ids=["comment", "role", "all"]
)
@pytest.mark.parametrize(
    "fault",
    [headless(), headless() + RESET, stream(), stream(ERROR), stream(ERROR, DONE_EVENT), stream(delta("error"))],
    ids=["cut", "garbage", "end", "error", "error and DONE", "finish reason"],
)
def test_fault_after_a_preamble_of_a_chat_goes_to_the_next_candidate(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, preamble: list[bytes], fault: bytes
) -> None:
    head = len(headless())
    raw_provider.answer = headless(*preamble) + fault[head:]
    answer = ask(replica, CHAT, "raw-saved")

    assert (answer.status, answer.headers["x-pllm-fallback"]) == (200, "raw-saved>spare")
    assert b"OPENROUTER" not in answer.body
    assert failures(cluster, "raw-saved") == "1"


OVERLOADED = event("error", error={"type": "overloaded_error", "message": "Overloaded"})


@pytest.mark.parametrize("path", [MESSAGES, CHAT])
@pytest.mark.parametrize("end", [b"", END, stream(OVERLOADED)[len(headless()) :]], ids=["cut", "end", "error"])
def test_fault_after_a_preamble_of_messages_goes_to_the_next_candidate(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, path: str, end: bytes
) -> None:
    raw_provider.answer = headless(START, PING, TEXT_BLOCK) + end
    answer = ask(replica, path, "raw-claude-saved")

    assert (answer.status, answer.headers["x-pllm-fallback"]) == (200, "raw-claude-saved>spare")
    assert b"Hello" in answer.body
    assert failures(cluster, "raw-claude-saved") == "1"


@pytest.mark.parametrize("end", [b"", END], ids=["cut", "end"])
def test_fault_after_a_preamble_of_a_response_goes_to_the_next_candidate(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, end: bytes
) -> None:
    raw_provider.answer = headless(CREATED, IN_PROGRESS, ITEM, PART) + end
    raw_provider.then = [stream(CREATED, TEXT, COMPLETED)]
    answer = ask(replica, RESPONSES, "raw-first")

    assert (answer.headers["x-pllm-fallback"], answer.body) == ("raw-first>raw-second", CREATED + TEXT + COMPLETED)
    assert failures(cluster, "raw-first") == "1"


def test_silence_after_a_preamble_goes_to_the_next_candidate(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer, raw_provider.is_holding = headless(COMMENT, ROLE), True
    answer = ask(replica, CHAT, "raw-clocked")

    assert (answer.status, answer.headers["x-pllm-fallback"]) == (200, "raw-clocked>spare")
    assert failures(cluster, "raw-clocked") == "1"
    wait_until(lambda: raw_provider.left == 1)


@pytest.mark.parametrize(
    ("path", "model", "begun", "error"),
    [
        (CHAT, "raw-saved", [ROLE, delta(content="a")], ERROR),
        (MESSAGES, "raw-claude-saved", [START, TEXT_BLOCK, HELLO], OVERLOADED),
        (RESPONSES, "raw-first", [CREATED, TEXT], event("error", code="server_error", message="x")),
    ],
    ids=["chat", "messages", "responses"],
)
def test_error_after_content_reaches_the_client_and_is_not_retried(
    cluster: Cluster,
    replica: ReplicaProcess,
    raw_provider: RawProvider,
    path: str,
    model: str,
    begun: Any,
    error: bytes,
) -> None:
    raw_provider.answer = stream(*begun, error)
    answer = ask(replica, path, model)

    assert answer.body.startswith(b"".join(begun))
    assert answer.body.count(b'"message"') == b"".join(begun).count(b'"message"') + 1
    assert (answer.headers["x-pllm-attempts"], len(raw_provider.requests)) == ("1", 1)
    assert failures(cluster, model) == "1"


# -- response.failed ----------------------------------------------------------------------------------------------

BROKEN = event(
    "response.failed", sequence_number=2, response={"id": "r", "error": {"code": "server_error", "message": "x"}}
)


@pytest.mark.parametrize("begun", [[CREATED, IN_PROGRESS], [CREATED, TEXT]], ids=["at once", "after content"])
@pytest.mark.parametrize(("failed", "count"), [(FAILED, "0"), (BROKEN, "1")], ids=["client", "server"])
def test_response_that_failed_is_passed_on_byte_for_byte_and_judged_by_its_code(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, begun: Any, failed: bytes, count: str
) -> None:
    raw_provider.answer = stream(*begun, failed)
    answer = ask(replica, RESPONSES, "raw")

    assert (answer.status, answer.body) == (200, b"".join(begun) + failed)
    assert failures(cluster, "raw") == count


def test_official_client_sees_how_a_response_failed(chatgpt: openai.OpenAI, raw_provider: RawProvider) -> None:
    raw_provider.answer = stream(CREATED, IN_PROGRESS, FAILED)
    events = list(chatgpt.responses.create(model="raw", input="hi", stream=True))

    assert [each.type for each in events] == ["response.created", "response.in_progress", "response.failed"]


LIMITED = {"code": "rate_limit_exceeded", "message": "Rate limit reached. Please try again in 20s."}
LIMITED_RESPONSE = event("response.failed", sequence_number=2, response={"id": "r", "error": LIMITED})


@pytest.mark.parametrize(
    ("path", "events"),
    [
        (
            RESPONSES,
            [CREATED, TEXT, event("response.failed", sequence_number=2, response={"id": "r", "error": LIMITED})],
        ),
        (CHAT, [ROLE, delta(content="hi"), data({"error": LIMITED})]),
    ],
    ids=["documented end", "error event"],
)
def test_rate_limit_in_mid_stream_cools_the_deployment_for_the_time_in_its_words(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, path: str, events: list[bytes]
) -> None:
    raw_provider.answer = stream(*events)
    answer = ask(replica, path, "raw")
    cluster.wait_until_idle()
    later = ask(replica, path, "raw")

    assert (answer.status, answer.body.startswith(events[0] + events[1])) == (200, True)
    assert (later.status, len(raw_provider.requests)) == (429, 1)
    assert 15 <= int(later.headers["retry-after"]) <= 20
    assert failures(cluster, "raw") == "0"


def test_response_that_failed_at_a_server_is_hidden_where_another_candidate_is_left(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer, raw_provider.then = stream(CREATED, BROKEN), [stream(CREATED, TEXT, COMPLETED)]
    answer = ask(replica, RESPONSES, "raw-first")

    assert (answer.headers["x-pllm-fallback"], answer.body) == ("raw-first>raw-second", CREATED + TEXT + COMPLETED)
    assert failures(cluster, "raw-first") == "1"


def test_response_that_failed_by_its_request_goes_nowhere_else(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer = stream(CREATED, FAILED)
    answer = ask(replica, RESPONSES, "raw-first")

    assert (answer.body, len(raw_provider.requests)) == (CREATED + FAILED, 1)
    assert failures(cluster, "raw-first") == "0"


def test_response_that_fails_at_every_candidate_is_the_last_ones(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer = stream(CREATED, BROKEN)
    answer = ask(replica, RESPONSES, "raw-first")

    assert (answer.status, answer.body, answer.headers["x-pllm-attempts"]) == (200, CREATED + BROKEN, "2")
    assert (failures(cluster, "raw-first"), failures(cluster, "raw-second")) == ("1", "1")


# -- clocks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [COMMENT, PING, delta(reasoning_content="hm")], ids=["comment", "ping", "reasoning"])
def test_any_sign_of_life_ends_the_wait_for_the_first_byte(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, sign: bytes
) -> None:
    """For longer than `first_byte_timeout`, and all of it together for longer than `timeout`."""
    raw_provider.answer_in_drips(ROLE, *[sign] * 7, delta(content="a"), *[delta(content="b")] * 7, DONE_EVENT)
    answer = ask(replica, CHAT, "raw-clocked")

    assert answer.headers["x-pllm-deployment"] == "raw-clocked"
    assert answer.body.endswith(delta(content="b") + DONE_EVENT)
    assert failures(cluster, "raw-clocked") == "0"


def test_first_token_timeout_is_not_ended_by_comments(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer_in_drips(ROLE, *[COMMENT] * 20, delta(content="a"), DONE_EVENT)
    answer = ask(replica, CHAT, "raw-first-token")

    assert answer.headers["x-pllm-fallback"] == "raw-first-token>spare"
    assert failures(cluster, "raw-first-token") == "1"


def test_first_token_timeout_ends_with_the_first_reasoning(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    raw_provider.answer_in_drips(delta(reasoning_content="hm"), *[COMMENT] * 8, delta(content="a"), DONE_EVENT)

    assert ask(replica, CHAT, "raw-first-token").headers["x-pllm-deployment"] == "raw-first-token"


def test_time_that_a_client_allows_bounds_a_stream_that_delivers(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer_in_drips(*[delta(content="a")] * 40, DONE_EVENT)
    answer = ask(replica, CHAT, "raw", {"x-pllm-timeout": "300ms"})

    assert answer.body.startswith(delta(content="a"))
    assert b"upstream_timeout" in answer.body
    assert b"[DONE]" not in answer.body
    assert failures(cluster, "raw") == "0"


# -- complete streams, however they are framed and ended ----------------------------------------------------------

WORDS = "grüße 😀 你好 \u2028 end"
CHAT_EVENTS = [ROLE, delta(content=WORDS[:7]), delta(content=WORDS[7:]), delta("stop"), DONE_EVENT]
CHAT_TEXT = b"".join(CHAT_EVENTS)
SPLIT = CHAT_TEXT.index("😀".encode()) + 2
CRLF = CHAT_TEXT.replace(b"\n", b"\r\n")
PRETTY = json.dumps(json.loads(CHAT_EVENTS[1][6:]), indent=1, ensure_ascii=False).encode()
FRAMINGS: dict[str, list[bytes]] = {
    "CRLF": [CRLF],
    "CRLF in two packets": [CRLF[: CRLF.index(b"\r\n\r\n") + 3], CRLF[CRLF.index(b"\r\n\r\n") + 3 :]],
    "lone CR": [CHAT_TEXT.replace(b"\n", b"\r")],
    "UTF-8 in two packets": [CHAT_TEXT[:SPLIT], CHAT_TEXT[SPLIT:]],
    "byte by byte": [bytes([each]) for each in CHAT_TEXT],
    "comments": [COMMENT, b":\n\n" + ROLE, b": a\n: b\n\n", *CHAT_EVENTS[1:]],
    "comment on top of an event": [b": x\n" + CHAT_TEXT],
    "no space": [CHAT_TEXT.replace(b"data: ", b"data:")],
    "other fields": [b"retry: 10\nid: 1\nevent: message\n" + each for each in CHAT_EVENTS],
    "no blank line at the end": [CHAT_TEXT.rstrip()],
    "one line end at the end": [CHAT_TEXT[:-1]],
    "several data lines": [
        ROLE,
        b"".join(b"data: %b\n" % line for line in PRETTY.splitlines()) + b"\n",
        *CHAT_EVENTS[2:],
    ],
    "comment behind the end": [CHAT_TEXT, b": bye\n\n"],
    "two ends": [CHAT_TEXT, DONE_EVENT],
    "empty lines": [b"\n\n".join(CHAT_EVENTS)],
    "no end": CHAT_EVENTS[:-1],
    "no end, no blank line": [b"".join(CHAT_EVENTS[:-1]).rstrip()],
    "one event, no end, no blank line": [delta("stop", role="assistant", content=WORDS).rstrip()],
    "usage last, no end": [*CHAT_EVENTS[:-1], USAGE],
    "null choices": [*CHAT_EVENTS[:-1], USAGE.replace(b"[]", b"null"), DONE_EVENT],
}


@pytest.mark.parametrize("name", FRAMINGS)
def test_chat_stream_of_any_framing_is_read_by_both_official_clients(
    chatgpt: openai.OpenAI, claude: anthropic.Anthropic, cluster: Cluster, raw_provider: RawProvider, name: str
) -> None:
    raw_provider.answer = stream(*FRAMINGS[name])
    chunks = list(chatgpt.chat.completions.create(model="raw", messages=HI, stream=True))
    with claude.messages.stream(model="raw", max_tokens=9, messages=HI) as events:
        message = events.get_final_message()

    assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == WORDS
    assert [block.text for block in message.content if block.type == "text"] == [WORDS]
    assert failures(cluster, "raw") == "0"


@pytest.mark.parametrize("name", [name for name in FRAMINGS if "end" in name or name == "null choices"])
def test_chat_stream_ends_in_exactly_one_terminator(
    replica: ReplicaProcess, raw_provider: RawProvider, name: str
) -> None:
    raw_provider.answer = stream(*FRAMINGS[name])
    answer = ask(replica, CHAT, "raw")

    assert answer.body.endswith(b"\n\n" + DONE_EVENT)
    assert answer.events.count("[DONE]") == 1
    assert b"null" not in answer.body.split(b'"usage"')[0].rpartition(b"data: ")[2]


MESSAGE_EVENTS = [START, PING, TEXT_BLOCK, HELLO, BLOCK_STOP, MESSAGE_END, MESSAGE_STOP]
MESSAGE_TEXT = b"".join(MESSAGE_EVENTS)
MESSAGE_FRAMINGS: dict[str, list[bytes]] = {
    "whole": [MESSAGE_TEXT],
    "CRLF": [MESSAGE_TEXT.replace(b"\n", b"\r\n")],
    "lone CR": [MESSAGE_TEXT.replace(b"\n", b"\r")],
    "byte by byte": [bytes([each]) for each in MESSAGE_TEXT],
    "no blank line at the end": [MESSAGE_TEXT.rstrip()],
    "no end": MESSAGE_EVENTS[:-1],
    "DONE behind the end": [MESSAGE_TEXT, DONE_EVENT],
    "DONE instead of the end": [*MESSAGE_EVENTS[:-1], DONE_EVENT],
}


@pytest.mark.parametrize("name", MESSAGE_FRAMINGS)
def test_stream_of_messages_of_any_framing_is_read_by_both_official_clients(
    chatgpt: openai.OpenAI, claude: anthropic.Anthropic, cluster: Cluster, raw_provider: RawProvider, name: str
) -> None:
    raw_provider.answer = stream(*MESSAGE_FRAMINGS[name])
    chunks = list(chatgpt.chat.completions.create(model="raw-claude", messages=HI, stream=True))
    with claude.messages.stream(model="raw-claude", max_tokens=9, messages=HI) as events:
        kinds = [each.type for each in events]
        message = events.get_final_message()

    assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == "grüße 😀"
    assert [block.text for block in message.content if block.type == "text"] == ["grüße 😀"]
    assert (kinds[-1], message.stop_reason) == ("message_stop", "end_turn")
    assert failures(cluster, "raw-claude") == "0"


def test_byte_order_mark_is_read_over_and_passes(
    chatgpt: openai.OpenAI,
    claude: anthropic.Anthropic,
    cluster: Cluster,
    replica: ReplicaProcess,
    raw_provider: RawProvider,
) -> None:
    mark = b"\xef\xbb\xbf"
    raw_provider.answer = stream(mark + CHAT_TEXT)
    assert ask(replica, CHAT, "raw").body == mark + CHAT_TEXT
    with claude.messages.stream(model="raw", max_tokens=9, messages=HI) as events:
        assert events.get_final_text() == WORDS

    raw_provider.answer = stream(mark + MESSAGE_TEXT)
    assert ask(replica, MESSAGES, "raw-claude").body == mark + MESSAGE_TEXT
    chunks = list(chatgpt.chat.completions.create(model="raw-claude", messages=HI, stream=True))
    assert "".join(each.choices[0].delta.content or "" for each in chunks) == "grüße 😀"
    assert (failures(cluster, "raw"), failures(cluster, "raw-claude")) == ("0", "0")


@pytest.mark.parametrize(
    ("path", "model", "events"),
    [(MESSAGES, "raw-claude", MESSAGE_EVENTS), (RESPONSES, "raw", [CREATED, TEXT, COMPLETED])],
    ids=["messages", "responses"],
)
def test_events_are_known_by_the_type_in_their_json(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider, path: str, model: str, events: list[bytes]
) -> None:
    unnamed = [each[each.index(b"data:") :] for each in events]
    raw_provider.answer = stream(*unnamed)

    assert ask(replica, path, model).body == b"".join(unnamed)
    assert failures(cluster, model) == "0"


def test_halves_of_a_surrogate_pair_in_two_chunks_pass(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    halves = [
        b'data: {"choices": [{"index": 0, "delta": {"content": "\\u%b"}}]}\n\n' % each for each in (b"d83d", b"de00")
    ]
    raw_provider.answer = stream(*halves, delta("stop"), DONE_EVENT)

    assert ask(replica, CHAT, "raw").body == b"".join(halves) + delta("stop") + DONE_EVENT
    assert failures(cluster, "raw") == "0"


def test_thinking_block_of_messages_is_no_content_until_it_thinks(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer = stream(START, THINKING_BLOCK, OVERLOADED)

    assert ask(replica, MESSAGES, "raw-claude-saved").headers["x-pllm-fallback"] == "raw-claude-saved>spare"


def test_stream_without_any_finish_reason_is_not_complete(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer = stream(ROLE, chunk_event("a"))
    answer = ask(replica, CHAT, "raw")

    assert b"upstream_error" in answer.body
    assert failures(cluster, "raw") == "1"


def test_response_that_was_cancelled_is_complete(
    cluster: Cluster, replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    cancelled = event("response.cancelled", response={"id": "r", "status": "cancelled", "error": None})
    raw_provider.answer = stream(CREATED, TEXT, cancelled)

    assert ask(replica, RESPONSES, "raw").body == CREATED + TEXT + cancelled
    assert failures(cluster, "raw") == "0"
