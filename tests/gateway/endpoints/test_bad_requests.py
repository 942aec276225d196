"""Requests that are wrong in every way a client can get them wrong: each gets an OpenAI-shaped error that names the
fault, reaches no provider and leaves nothing behind.
"""

import json
from typing import Any

import pytest

from tests.loadtest.process import CHAT, ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.wire import Answer, ask

MESSAGES = '"messages": [{"role": "user", "content": "hi"}]'
DEEP = "[" * 50_000 + "]" * 50_000


def post(replica: ReplicaProcess, body: bytes) -> Answer:
    return replica.request("POST", CHAT, body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"hi",
        b"\x00" * 20,
        b'{"model": "gpt-4", ' + MESSAGES.encode() + b"} x",
        b'{"model": "gpt-4", "messages": [{"content": "\x00"}]}',
        b'{"model": "gpt-4", "messages": [{"content": "\xff\xfe"}]}',
        b'{"model": "gpt-4\xff", ' + MESSAGES.encode() + b"}",
        b'{"model": "gpt-4", "messages": [{"\xff": "user"}]}',
        b'{"model": "gpt-4\\ud800", ' + MESSAGES.encode() + b"}",
        b"\xef\xbb\xbf" + json.dumps({"model": "gpt-4", "messages": [{}]}).encode(),
        json.dumps({"model": "gpt-4", "messages": [{}]}).encode("utf-16"),
        f'{{"model": "gpt-4", "messages": [{{"content": {DEEP}}}]}}'.encode(),
        f'{{"model": "gpt-4", {MESSAGES}, "x": {DEEP}}}'.encode(),
        DEEP.encode(),
    ],
    ids=[
        "empty", "cut", "text", "NUL bytes", "trailing text", "NUL in text", "UTF-8 in text", "UTF-8 in model",
        "UTF-8 in key", "lone surrogate", "byte order mark", "UTF-16", "deep message", "deep field", "deep array",
    ],
)  # fmt: skip
def test_body_that_is_no_json_is_refused(replica: ReplicaProcess, provider: ProviderProcess, body: bytes) -> None:
    answer = post(replica, body)

    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert provider.counts()["requests"] == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 4}, "model"),
        ({"model": ["gpt-4"]}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"messages": {}}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
    ],
)
def test_wrong_field_is_named(
    replica: ReplicaProcess, provider: ProviderProcess, fields: dict[str, Any], param: str
) -> None:
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "hi"}], **fields}
    answer = post(replica, json.dumps(body).encode())

    assert (answer.status, answer.error["param"]) == (400, param)
    assert provider.counts()["requests"] == 0


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_missing_field_is_named(replica: ReplicaProcess, missing: str) -> None:
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "hi"}]}
    del body[missing]
    answer = post(replica, json.dumps(body).encode())

    assert (answer.status, answer.error["param"]) == (400, missing)


@pytest.mark.parametrize("body", [b"[]", b'"hi"', b"1", b"null"])
def test_json_that_is_no_object_is_refused(replica: ReplicaProcess, body: bytes) -> None:
    answer = post(replica, body)

    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("model", ["gpt-5", "", "gpt-4 ", "GPT-4", "gpt-4\u0000", "../gpt-4", "x" * 100_000])
def test_unknown_model_is_not_found(replica: ReplicaProcess, model: str) -> None:
    answer = replica.chat(model)

    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")
    assert len(answer.body) < 1000


@pytest.mark.parametrize("path", ["chat/completions", "completions", "embeddings", "messages", "responses"])
@pytest.mark.parametrize(
    "twin", [b'"mOdel": "claude"', b'"model": "claude"', b'"seed": %b, "\\u006dodel": "x"' % (b"7" * 5_000)]
)
def test_request_of_two_meanings_is_refused(
    replica: ReplicaProcess, provider: ProviderProcess, path: str, twin: bytes
) -> None:
    body = b'{"model": "gpt-4", "max_tokens": 5, "prompt": "hi", "input": "hi", %b, %b}' % (MESSAGES.encode(), twin)
    answer = replica.request("POST", f"/v1/{path}", body)

    error = answer.json()["error"]
    assert (answer.status, error["type"]) == (400, "invalid_request_error")
    assert "`model`" in error["message"] or "`mOdel`" in error["message"]
    assert provider.counts()["requests"] == 0


def test_wrong_requests_teach_the_breaker_nothing(cluster: Cluster, replica: ReplicaProcess) -> None:
    before = cluster.deployment("primary")
    for _ in range(10):
        post(replica, b"{")
        replica.chat(messages=[])

    assert cluster.deployment("primary") == before


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: [::1]\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["TLS", "no target", "negative length", "two lengths", "bad chunk", "length and chunks"],
)
def test_broken_http_is_refused(replica: ReplicaProcess, text: bytes) -> None:
    answer = ask(replica.address, text)

    assert answer.status == 400
    assert replica.get("/livez").status == 200
