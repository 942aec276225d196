"""The meaning of answers: each row of docs/judgement.md, the words of each provider, and transport faults."""

import errno
import os
import re
import resource
import socket
import ssl
from pathlib import Path

import pytest

from gateway.upstream.classify import (
    QUOTA_COOL_MS,
    REASON_MOST,
    Judgement,
    Refusal,
    is_own_fault,
    judge,
    judge_fault,
    judge_in_band,
    reason_of,
)
from gateway.upstream.http.faults import (
    AddressesFailed,
    BodyBroken,
    ConnectTimeout,
    Disconnected,
    EndlessAnswer,
    HeadTooLarge,
    NotConnected,
    NotHttp,
    ProxyRefused,
)
from gateway.upstream.upstream_errors import UpstreamError
from shared_state.records import Outcome

ROOT = Path(__file__).resolve().parents[3]


def rows() -> list[tuple[int, UpstreamError | None, bool, str, str, str]]:
    """The first table of the documentation: status, error, whether it names a part of the request, and the verdict."""
    found = []
    for line in (ROOT / "docs/judgement.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 6 or not re.match(r"\d{3}", cells[0]):
            continue
        code, words = cells[1] or None, cells[2]
        error = UpstreamError(words, code=code) if code or words else None
        for status in re.findall(r"\d{3}", cells[0]):
            found.append((int(status), error, "names its part" in cells[0], cells[3], cells[4], cells[5]))
    return found


def test_documentation_has_its_table() -> None:
    assert len(rows()) > 50


@pytest.mark.parametrize(("status", "error", "is_named", "outcome", "next_one", "chain"), rows())
def test_answer_has_the_documented_meaning(
    status: int, error: UpstreamError | None, is_named: bool, outcome: str, next_one: str, chain: str
) -> None:
    assert next_one in ("yes", "yes, again", "yes, other accounts", "no")
    name, _, hour = outcome.partition(", ")
    expected = Judgement(
        Outcome(name),
        next_one != "no",
        Refusal(chain) if chain else None,
        QUOTA_COOL_MS if hour == "an hour" else 0,
        next_one == "yes, again",
        next_one == "yes, other accounts",
    )

    assert judge(status, error, lambda _error: is_named) == expected


@pytest.mark.parametrize(("status", "error", "is_named", "outcome", "next_one", "chain"), rows())
def test_error_within_a_200_is_judged_like_its_status(
    status: int, error: UpstreamError | None, is_named: bool, outcome: str, next_one: str, chain: str
) -> None:
    if error is None or status < 400:
        error = UpstreamError("No words for it.")
    named = UpstreamError(error.message, code=error.code, status=status)
    if error.code is not None and str(error.code).isdecimal():
        named = UpstreamError(error.message, code=error.code)

    if status >= 400:
        assert judge_in_band(named, lambda _error: is_named) == (status, judge(status, error, lambda _error: is_named))


# The error objects of each provider for a prompt that is too long, with their status.
TOO_LONG = {
    "openai": (
        400,
        UpstreamError("This model's maximum context length is 8192 tokens.", code="context_length_exceeded"),
    ),
    "openai responses": (400, UpstreamError("Your input exceeds the context window of this model.")),
    "xai": (400, UpstreamError("This model's maximum prompt length is 131072 but the request contains 136973 tokens.")),
    "sglang": (400, UpstreamError("The input (9000 tokens) is longer than the model's context length (4096 tokens).")),
    "vllm": (400, UpstreamError("This model's maximum context length is 4096 tokens. However, you requested 9000")),
    "tgi": (422, UpstreamError("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096.")),
    "tgi inputs": (422, UpstreamError("Input validation error: `inputs` must have less than 1024 tokens. Given: 2048")),
    "gemini": (400, UpstreamError("The input token count (1200000) exceeds the maximum number of tokens allowed (9).")),
    "mistral": (
        400,
        UpstreamError("Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
    ),
    "llama.cpp": (
        400,
        UpstreamError("the request exceeds the available context size", type="exceed_context_size_error"),
    ),
    "groq": (400, UpstreamError("Please reduce the length of the messages or completion.")),
    "groq 413": (
        413,
        UpstreamError("tokens per minute (TPM): Limit 6000, Requested 14368", code="rate_limit_exceeded"),
    ),
    "anthropic": (400, UpstreamError("prompt is too long: 209303 tokens > 200000 maximum")),
    "anthropic limit": (400, UpstreamError("input length and `max_tokens` exceed context limit: 9 + 9 > 10")),
    "anthropic 413": (413, UpstreamError("Request exceeds the maximum size", type="request_too_large")),
    "fireworks": (400, UpstreamError("The prompt is too long: 140000, model maximum context length: 131071")),
    "cohere": (400, UpstreamError("too many tokens: size limit exceeded by 5000 tokens. Try using shorter inputs.")),
    "bedrock": (400, UpstreamError("Input is too long for requested model.")),
    "nova": (400, UpstreamError("Input Tokens Exceeded: Number of input tokens exceeds maximum length.")),
    "ollama": (400, UpstreamError("prompt too long; exceeded max context length by 12 tokens")),
    "minimax": (400, UpstreamError("invalid params, context window exceeds limit (2013)")),
    "moonshot": (400, UpstreamError("Invalid request: Your request exceeded model token limit: 131072")),
    "dashscope": (400, UpstreamError("Range of input length should be [1, 129024]", code="invalid_parameter_error")),
    "string": (400, UpstreamError("string too long", code="string_above_max_length")),
}


@pytest.mark.parametrize(("status", "error"), TOO_LONG.values(), ids=TOO_LONG)
def test_prompt_that_is_too_long_is_known_by_the_words_of_each_provider(status: int, error: UpstreamError) -> None:
    judgement = judge(status, error)

    assert (judgement.outcome, judgement.refusal) == (Outcome.CLIENT_ERROR, Refusal.CONTEXT_WINDOW)
    if status == 400:
        assert judge_in_band(error) == (400, judgement)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, UpstreamError("max_tokens: 9000 > 8192, which is the maximum allowed number of output tokens")),
        (400, UpstreamError("temperature must be at most 2")),
        (400, UpstreamError("image input is not supported by this model")),
        (400, UpstreamError("Unsupported parameter: 'logprobs' is not supported with this model.")),
        (400, UpstreamError("Tool use is not supported.")),
        (422, UpstreamError("body.messages: field required")),
    ],
)
def test_other_mistakes_of_a_client_take_no_chain(status: int, error: UpstreamError) -> None:
    assert judge(status, error) == Judgement(Outcome.CLIENT_ERROR, moves_on=False)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "This organization has been disabled."),
        (400, "User location is not supported for the API use."),
        (403, "Your account has been suspended."),
    ],
)
def test_account_of_the_gateway_that_is_closed_is_like_a_bad_key(status: int, words: str) -> None:
    assert judge(status, UpstreamError(words)) == Judgement(Outcome.FAILURE)


@pytest.mark.parametrize(
    "words",
    [
        "The model `llama2-70b-4096` has been decommissioned and is no longer supported.",
        "Model Not Exist",
        "foo/bar is not a valid model ID",
        "Invalid model: mistral-huge",
        "The provided model identifier is invalid.",
        "The model grok-0 does not exist or your team does not have access to it.",
    ],
)
def test_model_that_the_provider_does_not_have_is_no_mistake_of_the_client(words: str) -> None:
    """The configuration names it, whatever status the provider answers."""
    for status in (400, 403, 422):
        assert judge(status, UpstreamError(words)) == Judgement(Outcome.UNSUPPORTED)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "No endpoints found that support image input"),
        (404, "No endpoints found matching your data policy (Free model publication)."),
        (500, "tools param requires --jinja flag"),
        (500, "image input is not supported - hint: you may need to provide the mmproj"),
        (501, "This model does not support tools"),
    ],
)
def test_request_with_an_image_or_a_tool_takes_nothing_from_requests_without(status: int, words: str) -> None:
    assert judge(status, UpstreamError(words)) == Judgement(Outcome.CLIENT_ERROR)


def test_endpoint_or_model_that_is_not_there_is_no_matter_of_features() -> None:
    for status, words in ((501, "This server does not support embeddings."), (404, "No endpoints found for a/b.")):
        assert judge(status, UpstreamError(words)) == Judgement(Outcome.UNSUPPORTED)


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_naming_a_part_of_the_request_matters_for_a_missing_thing_only(status: int) -> None:
    error = UpstreamError("file_gone could not be read")

    assert judge(status, error, lambda _error: True) == judge(status, error, lambda _error: False)


@pytest.mark.parametrize(
    "words",
    [
        "Too many tokens, please wait before trying again.",
        "Rate limit reached on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000.",
        "This request would exceed your organization's rate limit of 40,000 input tokens per minute",
    ],
)
def test_rate_limit_of_tokens_is_no_prompt_that_is_too_long(words: str) -> None:
    assert judge(429, UpstreamError(words)) == Judgement(Outcome.THROTTLED)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM])
def test_fault_of_this_process_is_known_behind_the_library_that_hid_it(number: int) -> None:

    assert is_own_fault(OSError(number, ""))
    hidden = NotConnected()
    hidden.__cause__ = OSError(number, "")
    assert is_own_fault(hidden)
    assert is_own_fault(MemoryError())


def test_fault_of_this_process_at_one_of_several_addresses_is_known() -> None:
    """No local port is left for the address of the one family, and there is no route to the other."""
    faults = [OSError(errno.ENETUNREACH, ""), OSError(errno.EADDRNOTAVAIL, "")]

    assert is_own_fault(caused_by(AddressesFailed(faults)))
    assert not is_own_fault(caused_by(AddressesFailed([faults[0], OSError(errno.ECONNREFUSED, "")])))


@pytest.mark.parametrize(
    "fault",
    [ConnectionRefusedError(errno.ECONNREFUSED, ""), TimeoutError(), socket.gaierror(-2, "not known"), OSError()],
)
def test_fault_of_the_network_is_not_ours(fault: BaseException) -> None:
    assert not is_own_fault(fault)


def test_name_that_is_not_found_for_want_of_descriptors_is_our_fault() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.open(os.devnull, os.O_RDONLY)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
        held = []
        try:
            while True:
                held.append(os.dup(highest))
        except OSError:
            is_ours = is_own_fault(socket.gaierror(-3, "Temporary failure in name resolution"))
    finally:
        for each in held:
            os.close(each)
        os.close(highest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert is_ours


def caused_by(cause: OSError) -> NotConnected:
    fault = NotConnected()
    fault.__cause__ = cause
    return fault


@pytest.mark.parametrize(
    ("fault", "outcome", "is_passing"),
    [
        (TimeoutError(), Outcome.TIMEOUT, False),
        (ConnectTimeout(), Outcome.TIMEOUT, False),
        (Disconnected(), Outcome.FAILURE, True),
        (BodyBroken(), Outcome.FAILURE, True),
        (EndlessAnswer(), Outcome.FAILURE, False),
        (NotHttp(), Outcome.FAILURE, False),
        (HeadTooLarge(), Outcome.FAILURE, False),
        (ProxyRefused(407), Outcome.FAILURE, False),
        (ProxyRefused(502), Outcome.FAILURE, True),
        (caused_by(ConnectionRefusedError(errno.ECONNREFUSED, "")), Outcome.FAILURE, True),
        (caused_by(ssl.SSLCertVerificationError()), Outcome.FAILURE, False),
        (caused_by(socket.gaierror(socket.EAI_NONAME, "")), Outcome.FAILURE, False),
        (ConnectionResetError(), Outcome.FAILURE, True),
        (ConnectionRefusedError(errno.ECONNREFUSED, ""), Outcome.FAILURE, True),
        (ssl.SSLCertVerificationError(), Outcome.FAILURE, False),
        (socket.gaierror(socket.EAI_NONAME, ""), Outcome.FAILURE, False),
        (socket.gaierror(socket.EAI_AGAIN, ""), Outcome.FAILURE, True),
    ],
)
def test_fault_is_a_time_out_or_a_failure_and_passes_or_stays(
    fault: Exception, outcome: Outcome, is_passing: bool
) -> None:
    assert judge_fault(fault) == Judgement(outcome, is_passing=is_passing)


@pytest.mark.parametrize(
    ("status", "error", "is_in_band", "reason"),
    [
        (
            401,
            UpstreamError("Incorrect API key.", code="invalid_api_key"),
            False,
            "401 invalid_api_key: Incorrect API key.",
        ),
        (500, None, False, "500 Internal Server Error"),
        (
            529,
            UpstreamError("Overloaded", type="overloaded_error"),
            True,
            "error overloaded_error within a 200: Overloaded",
        ),
        (400, UpstreamError("a\n b", code=400), False, "400 Bad Request: a b"),
        (598, UpstreamError(), False, "598"),
    ],
)
def test_reason_names_status_code_and_words(
    status: int, error: UpstreamError | None, is_in_band: bool, reason: str
) -> None:
    assert reason_of(status, error, is_in_band) == reason


def test_reason_is_bounded() -> None:
    assert len(reason_of(400, UpstreamError("x" * 5000))) == REASON_MOST


@pytest.mark.parametrize(
    "error",
    [
        UpstreamError("1 validation error: {'input': {'role': 'user', 'content': 'spending limit reached'}}"),
        UpstreamError("Invalid value: 'invalid api key'. Supported values are: 'user'.", param="messages[0].role"),
        UpstreamError("Invalid value: 'invalid api key'. Supported values are: 'user'."),
        UpstreamError('Invalid value: "invalid model". Supported values are: "user".'),
        UpstreamError("Invalid schema for response_format 'call_api': keyword 'oneOf' is not supported."),
        UpstreamError("Could not parse the text: please tell me why my credit balance is too low " + "x " * 20),
    ],
)
def test_words_of_the_request_that_a_provider_echoes_say_nothing_of_the_deployment(error: UpstreamError) -> None:
    assert judge(400, error) == Judgement(Outcome.CLIENT_ERROR, moves_on=False)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (409, UpstreamError("The conversation is locked.", code="conversation_locked")),
        (424, UpstreamError("Error retrieving tool list from MCP server: 'x'. Http status code: 401")),
        (403, UpstreamError("Your organization must be verified to stream this model.", param="stream")),
        (401, UpstreamError("Unauthorized", code="external_connector_error", param="tools")),
        (502, UpstreamError("Bad gateway", code="external_connector_error", param="tools")),
        (500, UpstreamError("Conversation roles must alternate user/assistant/user/assistant/...")),
    ],
)
def test_failure_of_the_requests_own_tools_is_neutral(status: int, error: UpstreamError) -> None:
    """A connector, a tool server, a template: another provider may take them."""
    assert judge(status, error) == Judgement(Outcome.CLIENT_ERROR)


@pytest.mark.parametrize("status", [403, 404, 409])
def test_thing_that_the_request_names_is_its_own_also_where_access_is_denied(status: int) -> None:
    error = UpstreamError("You do not have permission to access the File x or it may not exist.")

    assert judge(status, error, lambda _error: True) == Judgement(Outcome.CLIENT_ERROR, moves_on=False)


def test_throttling_within_a_200_is_known_by_its_words() -> None:
    error = UpstreamError("ThrottlingException: Too many tokens, please wait before trying again.")

    assert judge_in_band(error) == (429, Judgement(Outcome.THROTTLED))


def test_limit_of_nothing_is_no_prompt_that_is_too_long() -> None:
    assert judge(429, UpstreamError("Rate limit reached: Limit 0, Used 0, Requested 1")) == Judgement(Outcome.THROTTLED)
