"""Requests that are nearly right, at every endpoint, for providers of either dialect: whatever is wrong in them is the
client's fault, reported in the client's dialect.
"""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.mangled_json import mangled
from tests.support.wire import Answer

IMAGE = "data:image/png;base64,iVBORw0KGgo="
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
CHAT: dict[str, Any] = {
    "model": "MODEL",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": IMAGE}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ],
    "tools": [{"type": "function", "function": {"name": "weather", "parameters": WEATHER}}],
    "max_tokens": 5,
    "stop": ["end"],
    "temperature": 0.5,
}
MESSAGE: dict[str, Any] = {
    "model": "MODEL",
    "max_tokens": 5,
    "system": [{"type": "text", "text": "Be brief."}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}]},
    ],
    "tools": [{"name": "weather", "input_schema": WEATHER}],
    "stop_sequences": ["end"],
    "tool_choice": {"type": "auto"},
}
VALID: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/messages": MESSAGE,
    "/v1/completions": {"model": "MODEL", "prompt": ["hi"], "max_tokens": 5},
    "/v1/embeddings": {"model": "MODEL", "input": ["hi"], "encoding_format": "float"},
    "/v1/responses": {"model": "MODEL", "input": [{"role": "user", "content": "hi"}], "max_output_tokens": 5},
}
BOTH = ("/v1/chat/completions", "/v1/messages")
CASES = [(path, "gpt-4") for path in VALID] + [(path, "claude") for path in BOTH]


def assert_error_is_in_its_dialect(path: str, answer: Answer) -> None:
    fault = answer.json()
    assert 400 <= answer.status < 500, (answer.status, fault)
    assert fault["error"]["message"]
    assert (fault.get("type") == "error") == (path == "/v1/messages")
    assert "x-request-id" in answer.headers


@pytest.mark.parametrize(("path", "model"), CASES)
def test_request_that_is_nearly_right_is_served_or_refused(
    cluster: Cluster, replica: ReplicaProcess, path: str, model: str
) -> None:
    valid = json.loads(json.dumps(VALID[path]).replace("MODEL", model))

    @given(body=mangled([valid, valid | {"stream": True}]), key=st.sampled_from([{}, {"x-pllm-priority": "low"}]))
    @settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def check(body: bytes, key: dict[str, str]) -> None:
        answer = replica.request("POST", path, body, key)
        if answer.status != 200:
            assert_error_is_in_its_dialect(path, answer)

    check()
    assert "Traceback" not in replica.said()
    assert cluster.state("primary") == cluster.state("claude") == "closed"


@pytest.mark.parametrize("path", VALID)
@pytest.mark.parametrize("name", ["x\r\nset-cookie: a=b", "é\x00", "m" * 100_000, "../../admin", " gpt-4"])
def test_strange_model_is_unknown_and_nothing_of_it_gets_into_headers(
    replica: ReplicaProcess, path: str, name: str
) -> None:
    answer = replica.request("POST", path, json.dumps(VALID[path] | {"model": name}).encode())

    assert answer.status == 404
    assert_error_is_in_its_dialect(path, answer)
    assert len(answer.body) < 2_000
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", VALID)
@pytest.mark.parametrize("header", ["x-pllm-priority", "x-pllm-timeout"])
@pytest.mark.parametrize(
    "value", ["", "x" * 30_000, "-1", "1e400s", "nan", "critical\tlow", "\xff", "0", "99999999999w"]
)
def test_strange_header_is_refused_by_its_name(replica: ReplicaProcess, path: str, header: str, value: str) -> None:
    body = json.dumps(VALID[path]).replace("MODEL", "gpt-4").encode()
    answer = replica.request("POST", path, body, {header: value})

    assert answer.status == 400
    assert header in answer.json()["error"]["message"]
