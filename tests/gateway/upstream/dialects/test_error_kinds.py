from typing import Any, get_args

import anthropic
import httpx2
import pytest
from anthropic.types.shared import ErrorType

from gateway.upstream.dialects.error_kinds import chat_error_fields, message_error_fields, message_error_type

# The error objects as OpenAI, Azure, vLLM, Mistral, Gemini, Groq, Moonshot and DashScope send them.
CHAT_ERRORS: list[tuple[dict[str, Any], str]] = [
    ({"type": "requests", "code": "rate_limit_exceeded"}, "rate_limit_error"),
    ({"type": "tokens", "code": "rate_limit_exceeded"}, "rate_limit_error"),
    ({"code": 429}, "rate_limit_error"),
    ({"code": "429"}, "rate_limit_error"),
    ({"code": 429, "status": "RESOURCE_EXHAUSTED"}, "rate_limit_error"),
    ({"status": "RESOURCE_EXHAUSTED"}, "rate_limit_error"),
    ({"code": "Throttling.RateQuota"}, "rate_limit_error"),
    ({"code": "TooManyRequests"}, "rate_limit_error"),
    ({"type": "insufficient_quota", "code": "insufficient_quota"}, "billing_error"),
    ({"type": "exceeded_current_quota_error"}, "billing_error"),
    ({"code": 402}, "billing_error"),
    ({"type": "overloaded_error"}, "overloaded_error"),
    ({"type": "engine_overloaded_error"}, "overloaded_error"),
    ({"type": "service_unavailable_error", "code": "server_is_overloaded"}, "overloaded_error"),
    ({"code": 503}, "overloaded_error"),
    ({"code": 529}, "overloaded_error"),
    ({"status": "UNAVAILABLE"}, "overloaded_error"),
    ({"type": "invalid_request_error", "code": "context_length_exceeded"}, "invalid_request_error"),
    ({"code": "context_length_exceeded"}, "invalid_request_error"),
    ({"type": "BadRequestError", "code": 400}, "invalid_request_error"),
    ({"type": "invalid_request_error"}, "invalid_request_error"),
    ({"code": "content_filter"}, "invalid_request_error"),
    ({"status": 422}, "invalid_request_error"),
    ({"status": "INVALID_ARGUMENT"}, "invalid_request_error"),
    ({"type": "invalid_request_error", "code": "invalid_api_key"}, "authentication_error"),
    ({"code": 401}, "authentication_error"),
    ({"code": "Unauthorized"}, "authentication_error"),
    ({"status": "UNAUTHENTICATED"}, "authentication_error"),
    ({"status_code": 403}, "permission_error"),
    ({"status": "PERMISSION_DENIED"}, "permission_error"),
    ({"type": "invalid_request_error", "code": "model_not_found"}, "not_found_error"),
    ({"type": "NotFoundError", "code": 404}, "not_found_error"),
    ({"code": 413}, "request_too_large"),
    ({"code": 504}, "timeout_error"),
    ({"code": "request_timeout"}, "timeout_error"),
    ({"type": "server_error", "code": "grammar_too_large"}, "api_error"),
    ({"type": "InternalServerError", "code": 500}, "api_error"),
    ({"code": True}, "api_error"),
    ({"code": 1301}, "api_error"),
    ({"code": ["odd"], "type": {"odd": 1}}, "api_error"),
    ({}, "api_error"),
]


@pytest.mark.parametrize(("error", "kind"), CHAT_ERRORS)
def test_a_chat_error_gets_the_type_on_which_an_anthropic_client_acts(error: dict[str, Any], kind: str) -> None:
    assert message_error_type(error) == kind
    assert message_error_fields({"message": "m", **error})["type"] == kind


def test_the_official_client_knows_every_type() -> None:
    kinds = {kind for _, kind in CHAT_ERRORS}

    assert kinds <= {*get_args(ErrorType), "request_too_large"}


def test_the_official_client_reads_the_kind_out_of_a_translated_stream_error() -> None:
    fields = message_error_fields({"message": "Slow down", "type": "requests", "code": "rate_limit_exceeded"})
    response = httpx2.Response(200, request=httpx2.Request("POST", "http://provider"))

    error = anthropic.APIStatusError("m", response=response, body={"type": "error", "error": fields})

    assert (error.type, error.api_message) == ("rate_limit_error", "Slow down")


def test_code_and_param_of_a_chat_error_stay_as_additional_fields() -> None:
    error = {"message": "Too long", "type": "BadRequestError", "param": "messages", "code": 400}

    assert message_error_fields(error) == {
        "type": "invalid_request_error",
        "message": "Too long",
        "param": "messages",
        "code": 400,
        "provider_type": "BadRequestError",
    }


def test_nulls_of_a_chat_error_are_left_out() -> None:
    error = {"message": "m", "type": "invalid_request_error", "param": None, "code": None}

    assert message_error_fields(error) == {"type": "invalid_request_error", "message": "m"}


@pytest.mark.parametrize(
    ("message", "text"),
    [(None, ""), (["a", "b"], '["a","b"]'), ({"detail": "a"}, '{"detail":"a"}'), (7, "7")],
)
def test_a_message_of_another_type_becomes_text(message: object, text: str) -> None:
    assert message_error_fields({"message": message})["message"] == text
    assert chat_error_fields({"message": message})["message"] == text


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("overloaded_error", "server_is_overloaded"),
        ("rate_limit_error", "rate_limit_exceeded"),
        ("request_too_large", "request_too_large"),
        ("invalid_request_error", None),
        ("api_error", None),
    ],
)
def test_the_type_of_an_anthropic_error_stays(kind: str, code: str | None) -> None:
    assert chat_error_fields({"type": kind, "message": "Words"}) == {
        "message": "Words",
        "type": kind,
        "param": None,
        "code": code,
    }


def test_the_details_of_an_anthropic_error_are_kept_and_name_the_code() -> None:
    details = {"error_code": "enforced_spend_limit_reached"}

    fields = chat_error_fields({"type": "billing_error", "message": "m", "details": details, "request_id": "req_1"})

    assert (fields["code"], fields["details"], fields["request_id"]) == (
        "enforced_spend_limit_reached",
        details,
        "req_1",
    )


def test_an_anthropic_error_without_fields_is_an_api_error() -> None:
    assert chat_error_fields({}) == {"message": "", "type": "api_error", "param": None, "code": None}


@pytest.mark.parametrize("kind", ["overloaded_error", "rate_limit_error", "not_found_error", "api_error"])
def test_a_kind_survives_both_translations(kind: str) -> None:
    assert message_error_fields(chat_error_fields({"type": kind, "message": "m"}))["type"] == kind
