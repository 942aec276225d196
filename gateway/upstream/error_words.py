"""The meaning of providers' error codes and messages: one list for each meaning that a status alone does not give."""

import re
from collections.abc import Callable

from gateway.upstream.upstream_errors import UpstreamError, status_of

_TOO_LONG_CODES = {
    "context_length_exceeded",
    "string_above_max_length",
    "model_context_window_exceeded",
    "exceed_context_size_error",
    "ContextWindowExceededError",
    "request_too_large",
    "prompt_too_long",
    "model_max_prompt_tokens_exceeded",
}
# The words of OpenAI, vLLM, SGLang, Anthropic, Mistral, Gemini, Bedrock, Nova, Cohere, Groq, xAI, TGI and Together,
# DashScope, Moonshot, MiniMax, Fireworks, Ollama and llama.cpp.
_TOO_LONG = re.compile(
    r"(?:prompt|input|request|message) (?:is )?too (?:long|large)"
    r"|context (?:length|limit|size|window)"
    r"|max(?:imum)? (?:prompt|input|context) length"
    r"|(?:input|prompt) length[^.]{0,60}exceeds"
    r"|maximum number of (?:input )?tokens"
    r"|too many (?:input )?tokens"
    r"|`?inputs`? (?:tokens \+ `?max_new_tokens`? must be|must have less than)"
    r"|range of input length"
    r"|model token limit"
    r"|exceeds max(?:imum)? length|token count of \d+ exceeds the limit|expected maxlength"
    r"|reduce (?:the length of )?(?:the|your) (?:message|prompt|input)"
)
_REQUESTED = re.compile(r"limit:? (\d+)\b[^.]*?\brequested:? (\d+)")
_POLICY_CODES = {
    "content_filter",
    "content_policy_violation",
    "responsibleaipolicyviolation",
    "image_content_policy_violation",
    "data_inspection_failed",
    "datainspectionfailed",
    "moderation_blocked",
    "prohibited_content",
}
_POLICY = re.compile(
    r"content management policy|content filtering policy|content policy|usage polic(?:y|ies)|safety system"
    r"|(?:input|prompt) was flagged|inappropriate content|usage guidelines|safety_check_type"
)
_QUOTA_CODES = {
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "quota_exceeded",
    "billing_error",
    "budget_exceeded",
    "enforced_spend_limit_reached",
    "spend_limit_reached",
    "insufficient_balance",
    "insufficient_credits",
    "exceeded_current_quota_error",
    "arrearage",
}
_QUOTA = re.compile(
    r"credit balance is too low|insufficient (?:account )?balance|spend(?:ing)? limit|specified api usage limits"
)
_AFFORD = re.compile(r"fewer max_tokens|lower max_tokens|can only afford|prompt tokens limit exceeded")
_KEY_CODES = {"invalid_api_key", "api_key_invalid", "authentication_error", "account_deactivated"}
# Anthropic sends a 400 to a disabled organization, Google to a place that it does not serve.
_KEY = re.compile(
    r"api key (?:is )?(?:not valid|invalid|expired|not found)|(?:invalid|incorrect) (?:x-)?api[- ](?:key|token)"
    r"|api_key_invalid"
    r"|(?:organization|account|project) (?:has been|was|is) (?:disabled|deactivated|suspended)"
    r"|user location is not supported"
)
_ENDPOINT_CODES = {
    "unsupported_endpoint",
    "endpoint_not_supported",
    "operationnotsupported",
    "unimplemented",
    "not_implemented",
}
_ENDPOINT = re.compile(
    r"not (?:supported|available) in the v1/\S+ endpoint|only supported in (?:the )?/?v1/"
    r"|does not support (?:the )?(?:chat completions?|completions?|embeddings?|responses|messages) (?:api|endpoint)"
    r"|operation does not work with the specified model"
    r"|(?:endpoint|route|operation)\b[^.]{0,60}\b(?:is )?not (?:supported|implemented)"
    r"|unsupported (?:endpoint|operation)\b"
)
_MODEL_CODES = {"model_not_found", "model_decommissioned", "model_not_available", "invalid_model"}
# Groq, DeepSeek, OpenRouter, Mistral, Bedrock, Together, xAI: the name is the configuration's, not the client's.
_MODEL = re.compile(
    r"model identifier is invalid|model not exist\b|is not a valid model id|\binvalid model\b"
    r"|\bmodel\b *(?:[\w./:@-]{1,120} )? *"
    r"(?:does not exist|has been (?:decommissioned|retired|deprecated)|is no longer (?:available|supported))"
)
_FEATURES = (
    r"(?:images?|audio|video|files?|documents?|tools?|tool use|tool choice|functions?|function calling|vision"
    r"|multimodal|response_format|json(?:[ _]schema)?|structured outputs?|grammars?|logprobs|reasoning"
    r"|thinking|system messages?)"
)
# OpenRouter (404), llama.cpp (500, 501), vLLM.
_FEATURE = re.compile(
    rf"no endpoints found (?:that|matching|with)\b|no allowed providers are available"
    rf"|\b{_FEATURES}\b[^.]{{0,40}}\b(?:is|are) not supported|\b{_FEATURES}\b[^.]{{0,40}}\bunsupported"
    rf"|(?:does|do) not support {_FEATURES}\b|unsupported {_FEATURES}\b|\btools param requires"
)
# Faults of a tool, a connector or a template of the client's own request.
_REQUEST_CODES = {"conversation_locked", "external_connector_error"}
_REQUEST = re.compile(r"\bmcp server\b|external connector|retrieving tool list|roles must alternate")
# What a provider keeps for its account, and another account does not have.
_STATE_CODES = {
    "previous_response_not_found",
    "response_not_found",
    "conversation_not_found",
    "item_not_found",
    "container_not_found",
    "container_expired",
    "file_not_found",
    "vector_store_not_found",
    "invalid_encrypted_content",
}
_STATE = re.compile(
    r"\b(?:response|conversation|item|container|file|thread|vector store)s?\b(?: with id)?"
    r"[^.]{0,120}?\b(?:not found|does not exist|doesn't exist|could not be found|(?:is|has) expired|no longer exists)"
    r"|no such (?:file|response|conversation|container|vector store)"
    r"|encrypted content\b[^.]{0,80}\b(?:could not|cannot|can't|not) be (?:verified|decrypted|parsed)"
)
_THROTTLED = re.compile(r"throttl|rate limit|too many requests|wait before trying again")
_QUOTED = re.compile(r"'([^']{1,300})'|\"([^\"]{1,300})\"|`([^`]{1,300})`")
# Characters: providers name an endpoint in their first sentence, a key or an account at its beginning.
_ECHO_MOST, _BEGIN_MOST = 120, 50
_RATE_CODES = {"rate_limit_exceeded", "rate_limit_error", "too_many_requests"}
_AGAIN_IN = re.compile(r"(?:try again|retry) in (?:about )?(?:(\d{1,4})m)?(\d{1,6}(?:\.\d{1,6})?)\s?(ms|s)\b")
# Words of a message that may be names: ids, paths, addresses.
_NAME = re.compile(r"[^\s'\"`,;()\[\]{}<>]*[-_/:\d][^\s'\"`,;()\[\]{}<>]*")
_NAME_LEAST = 5
_NAMES_MOST = 32  # the number of names searched for in the request


def _codes(error: UpstreamError) -> set[str]:
    return {str(code).lower() for code in (error.code, error.type, error.status) if code is not None}


def _own_words(error: UpstreamError) -> str:
    """Returns the beginning of the message without its quotations: words that a provider echoes from the request are
    not about itself. Empty where the error is about a field of the request.
    """
    if error.param not in (None, "", "model"):
        return ""
    return _QUOTED.sub("", error.message.lower())[:_ECHO_MOST]


def reports_too_long(status: int, error: UpstreamError) -> bool:
    """Returns whether the prompt is longer than this deployment can ever take. A message about a rate limit counts only
    where it names a request larger than the whole limit.
    """
    words = error.message.lower()
    requested = _REQUESTED.search(words)
    if requested:
        return int(requested[2]) > int(requested[1]) > 0
    if status == 429 or (status_of(error, status) == 429 and status != 413):
        return "context_length_exceeded" in _codes(error)
    return bool({code.lower() for code in _TOO_LONG_CODES} & _codes(error) or _TOO_LONG.search(words))


def names_limit_with_room(error: UpstreamError) -> bool:
    """Returns whether the request fits into the limit that the error names, once other requests have passed."""
    requested = _REQUESTED.search(error.message.lower())
    return requested is not None and int(requested[2]) <= int(requested[1])


def reports_rate_limited(error: UpstreamError) -> bool:
    return bool(_RATE_CODES & _codes(error))


def reports_flagged(error: UpstreamError) -> bool:
    """Returns whether a filter of the provider refused the content of the request."""
    return bool(_POLICY_CODES & _codes(error) or _POLICY.search(error.message.lower()))


def reports_quota_exhausted(error: UpstreamError) -> bool:
    """Returns whether the account has no money or quota left, so that waiting does not help."""
    return bool(_QUOTA_CODES & _codes(error) or _QUOTA.search(_own_words(error)[:_BEGIN_MOST]))


def reports_too_expensive(error: UpstreamError) -> bool:
    """Returns whether the account could pay for a smaller request (OpenRouter's 402)."""
    return bool(_AFFORD.search(error.message.lower()))


def reports_key_refused(error: UpstreamError) -> bool:
    """Returns whether the gateway's own key is the problem, whatever the status (Google sends 400)."""
    return bool(
        _KEY_CODES & _codes(error)
        or _KEY.search(_own_words(error)[:_BEGIN_MOST])
        or "API_KEY_INVALID" in str(error.fields)
    )


def reports_endpoint_unsupported(error: UpstreamError) -> bool:
    """Returns whether the server or the model lacks this kind of endpoint."""
    return bool(_ENDPOINT_CODES & _codes(error) or _ENDPOINT.search(_own_words(error)))


def reports_model_gone(error: UpstreamError) -> bool:
    """Returns whether the provider lacks the model that the configuration names."""
    return bool(_MODEL_CODES & _codes(error) or _MODEL.search(_own_words(error)))


def reports_feature_unsupported(error: UpstreamError) -> bool:
    """Returns whether this model cannot take a part of this request, such as an image or a tool."""
    return bool(_FEATURE.search(error.message.lower()))


def names_part_of(request: bytes, error: UpstreamError, model: str) -> bool:
    """Returns whether the error mentions something that the request itself names: a file, response, item, thread or
    vector store. A 404 with such an id is the client's mistake. The model's name does not count.
    """
    if error.param not in (None, "", "model") or "previous_response_not_found" in _codes(error):
        return True
    words = [next(filter(None, quoted)) for quoted in _QUOTED.findall(error.message)]
    words += [word.rstrip(".:") for word in _NAME.findall(error.message) if len(word) >= _NAME_LEAST]
    names = [word for word in dict.fromkeys(words) if word and word not in model]
    return any(b'"%b"' % name.encode("utf-8", "replace") in request for name in names[:_NAMES_MOST])


def reports_state_unknown(error: UpstreamError, names: Callable[[UpstreamError], bool]) -> bool:
    """Returns whether the account lacks something that the request names by its id, and another one may have it.
    ``names``: as for `classify.judge`.
    """
    if _STATE_CODES & _codes(error):
        return True
    return _STATE.search(error.message.lower()) is not None and names(error)


def reports_request_failed(error: UpstreamError) -> bool:
    """Returns whether a tool, connector or field that the request names failed, not the deployment."""
    return bool(
        error.param not in (None, "", "model")
        or _REQUEST_CODES & _codes(error)
        or _REQUEST.search(error.message.lower())
    )


def reports_throttled(error: UpstreamError) -> bool:
    return bool(_THROTTLED.search(_own_words(error)))


def try_again_ms(error: UpstreamError) -> int:
    """Returns the wait in ms that the error's text (OpenAI) or details (Google's RetryInfo) name, 0 without one."""
    wait = _AGAIN_IN.search(error.message.lower())
    if wait:
        return int(wait[1] or 0) * 60_000 + round(float(wait[2]) * (1 if wait[3] == "ms" else 1000))
    details = error.fields.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and re.fullmatch(r"\d{1,6}(?:\.\d{1,9})?s", delay):
            return round(float(delay[:-1]) * 1000)
    return 0
