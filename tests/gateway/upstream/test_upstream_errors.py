"""A provider's error in each of the shapes that providers send."""

import json
from typing import Any

import pytest

from gateway.upstream.upstream_errors import UpstreamError, announced_error, error_in, error_of, status_of

SHAPES: dict[str, tuple[Any, UpstreamError]] = {
    "openai": (
        {"error": {"message": "m", "type": "t", "param": "p", "code": 7}},
        UpstreamError("m", "t", "p", 7),
    ),
    "anthropic": (
        {"type": "error", "error": {"type": "t", "message": "m", "details": {"a": 1}}, "request_id": "req_1"},
        UpstreamError("m", "t", fields={"details": {"a": 1}}, request_id="req_1"),
    ),
    "mistral, vllm": (
        {"object": "error", "message": "m", "type": "t", "param": None, "code": 400},
        UpstreamError("m", "t", None, 400),
    ),
    "google": (
        [{"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}}],
        UpstreamError("m", None, None, 400, "INVALID_ARGUMENT", {"status": "INVALID_ARGUMENT"}),
    ),
    "tgi": ({"error": "m", "error_type": "validation"}, UpstreamError("m", "validation")),
    "xai": (
        {"code": "Client specified an invalid argument", "error": "m"},
        UpstreamError("m", code="Client specified an invalid argument"),
    ),
    "fastapi text": ({"detail": "Not Found"}, UpstreamError("Not Found")),
    "fastapi list": (
        {"detail": [{"loc": ["body", "messages", 0], "msg": "field required", "type": "missing"}]},
        UpstreamError("body.messages.0: field required"),
    ),
    "bedrock, cohere": ({"message": "m"}, UpstreamError("m")),
    "aws": ({"Message": "m"}, UpstreamError("m")),
    "databricks": ({"error_code": "BAD_REQUEST", "message": "m"}, UpstreamError("m", code="BAD_REQUEST")),
    "cloudflare": ({"success": False, "errors": [{"code": 7003, "message": "m"}]}, UpstreamError("m", code=7003)),
    "errors as words": ({"errors": ["a", "b"]}, UpstreamError("a; b")),
    "baidu": ({"error_code": 17, "error_msg": "m"}, UpstreamError("m", code=17)),
    "lambda": ({"errorMessage": "m"}, UpstreamError("m")),
    "apigee": ({"fault": {"faultstring": "m"}}, UpstreamError("m")),
    "oauth": ({"error": "invalid", "error_description": "m"}, UpstreamError("invalid: m")),
    "message as an object": ({"error": {"message": {"detail": "m"}}}, UpstreamError("m")),
    "message as a list": ({"error": {"message": ["a", {"msg": "b"}]}}, UpstreamError("a; b")),
    "message as an unknown object": ({"error": {"message": {"x": 1}}}, UpstreamError('{"x":1}')),
    "odd neighbours": ({"error": {"message": "m"}, "object": 1, "message": {}}, UpstreamError("m")),
    "list of errors": ({"error": [{"message": "m", "code": 400}]}, UpstreamError("m", code=400)),
    "minimax": (
        {"error": {"message": "m", "http_code": "400"}},
        UpstreamError("m", status="400", fields={"http_code": "400"}),
    ),
}


@pytest.mark.parametrize(("body", "error"), SHAPES.values(), ids=SHAPES)
def test_error_is_found_in_the_shape_of_each_provider(body: Any, error: UpstreamError) -> None:
    assert error_of(json.dumps(body).encode()) == error


@pytest.mark.parametrize("body", [{"error": None}, {"object": "error", "message": {}}, [], [[]], 1, "x", None, {}])
def test_body_without_words_is_no_error_object(body: Any) -> None:
    assert error_in(body) is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"\xff", b"[" * 100_000])
def test_body_that_is_no_json_is_no_error_object(body: bytes) -> None:
    assert error_of(body) is None


@pytest.mark.parametrize(
    "value",
    [
        {"choices": [], "error": None},
        {"choices": [], "detail": "of something else"},
        {"id": "r", "object": "response", "output": [], "error": None},
        {"type": "message", "content": []},
        {"data": [], "errors": []},
        [],
        "error",
    ],
)
def test_answer_announces_no_error(value: object) -> None:
    assert announced_error(value) is None


@pytest.mark.parametrize(
    "value",
    [
        {"error": {"message": "m"}},
        {"choices": [], "error": {"message": "m"}},
        [{"error": {"message": "m"}}],
        {"object": "error", "message": "m"},
        {"type": "error", "error": {"message": "m"}},
        {"detail": "m"},
        {"error_code": 400, "message": "m"},
    ],
)
def test_error_within_a_200_announces_itself(value: object) -> None:
    error = announced_error(value)

    assert error is not None
    assert error.message == "m"


def test_error_without_words_is_an_error_all_the_same() -> None:
    assert announced_error({"type": "error"}) == UpstreamError()


def test_fields_of_an_error_are_bounded() -> None:
    error = error_in({"error": {"message": "m" * 5000, "metadata": "x" * 9000}})

    assert error is not None
    assert (len(error.message), error.fields) == (2000, {})


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UpstreamError(code=429), 429),
        (UpstreamError(code="503"), 503),
        (UpstreamError(code="3051", type="invalid_request_error"), 400),
        (UpstreamError(status="400"), 400),
        (UpstreamError(status="RESOURCE_EXHAUSTED"), 429),
        (UpstreamError(type="overloaded_error"), 529),
        (UpstreamError(type="rate_limit_error"), 429),
        (UpstreamError(type="BadRequestError"), 400),
        (UpstreamError(type="NotFoundError"), 404),
        (UpstreamError(type="server_error", code="rate_limit_exceeded"), 429),
        (UpstreamError(code="invalid_base64_image"), 400),
        (UpstreamError(code="image_too_large"), 400),
        (UpstreamError(code="server_error"), 500),
        (UpstreamError(type="authentication_error"), 401),
        (UpstreamError(code=True), 500),
        (UpstreamError(code=42), 500),
        (UpstreamError(code="9" * 5000), 500),
        (UpstreamError(), 500),
    ],
)
def test_error_within_a_200_stands_for_a_status(error: UpstreamError, status: int) -> None:
    assert status_of(error) == status
