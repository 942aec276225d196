"""The reasons why keys of LiteLLM have no equivalent. The first pattern that matches a key's name gives the reason."""

import re

from gateway.cli.litellm.report import UNKNOWN

_OF_EACH_CALL = "a parameter of calls: PLLM passes the client's parameters on and adds none"
_TENANTS = "teams, users and virtual keys: make tenants in auth.keys, or by PUT /v1/admin/tenants/NAME"
_BUDGETS = "budgets have other settings: docs/budgets.md"
_LOGGING = "PLLM has its own log lines, /metrics and traces over OTLP, and no callbacks"
_CACHE = "PLLM has no cache of answers"
_HEALTH = "PLLM judges a deployment by its calls and probes; health_check of a deployment only ends a cooldown early"
_DATABASE = "PLLM has no database: the store holds the shared state"
_CLASSES = "one table decides for all which failures count, fall back or are retried: gateway/upstream/classify.py"
_PROVIDER = "of a provider or a way to sign in that PLLM does not support"
_DIALECTS = (
    "fields are passed on; a request that another dialect cannot express goes to the next candidate, or is refused"
)
SHOWN = "only describes the model"

_REASONS = (
    (
        r"retry_after",
        "the next deployment is called at once; the retry budget keeps retries from multiplying an outage",
    ),
    (r"(num_retries|max_retries)", "attempts are counted for a request as a whole: router.max_attempts"),
    (r"(model_group_)?retry_policy", _CLASSES),
    (r"allowed_fails(_policy)?", f"only for all deployments, router.circuit_breaker_threshold; {_CLASSES}"),
    (r"routing_strategy_args", "the window is the last minute, the same for all strategies"),
    (r"routing_groups|model_priorities", "router.model_strategies sets a strategy for each model"),
    (
        r"enable_pre_call_checks?",
        "the provider's response shows a prompt that is too long: context_window_fallbacks",
    ),
    (r"optional_pre_call_checks", "router.affinity keeps sessions at a deployment; rpm and tpm are always exact"),
    (r"enable_tag_filtering|tag_filtering_match_any|tag_regex", "a request demands tags by the header x-pllm-tags"),
    (r"(default_)?priority|polling_interval", "PLLM queues by the tenant's priority: auth.keys[].priority"),
    (r"redis_.*|cache_kwargs|coordination_redis", "the address of a store has no equivalent"),
    (
        r"(input|output)_cost_per_.*|cache_(read|creation)_.*|.*_cost(_.*)?",
        "prices are of input, output and cached tokens",
    ),
    (r"(default_)?cache.*|caching.*|client_ttl|supported_call_types", _CACHE),
    (r".*budget.*|.*spend.*", _BUDGETS),
    (r".*callback.*|langfuse.*|set_verbose|.*_logging|json_logs|alert.*|.*redact.*|prometheus.*|otel.*", _LOGGING),
    (r".*health_check.*|.*healthcheck.*", _HEALTH),
    (r"database.*|store_model_in_db|store_prompts_.*|.*_db|proxy_batch.*|use_redis_transaction_buffer", _DATABASE),
    (
        r".*team.*|.*user.*|.*virtual_key.*|.*key_(generation|generate|management).*|custom_auth|enable_jwt_auth",
        _TENANTS,
    ),
    (
        r"litellm_jwtauth|allowed_routes|.*_routes|ui_.*|.*sso.*|.*mcp.*",
        "PLLM has no user interface, sign-on or routes of this kind",
    ),
    (r"(azure_)?ad_token.*|tenant_id|client_id|client_secret|aws_.*|vertex_.*|gcs_.*|s3_.*|watsonx_.*", _PROVIDER),
    (r"organization|extra_headers|headers|default_headers", "PLLM sends no headers of its own choosing to a provider"),
    (r"mode|base_model|max_input_tokens|max_output_tokens|supports_.*|description|metadata|litellm_provider", SHOWN),
    (
        r"max_(completion_)?tokens|temperature|top_[pk]|stop|seed|n|user|extra_body|.*_penalty|response_format",
        _OF_EACH_CALL,
    ),
    (r"default_litellm_params|stream_options", _OF_EACH_CALL),
    (r"drop_params|modify_params|additional_drop_params", _DIALECTS),
    (r"guardrails?|.*moderation.*|.*prompt_injection.*", "no guardrails"),
    (r"max_in_flight_requests_per_worker", "router.load_shedding.max_active_requests is for the whole cluster"),
    (r"cancel_on_disconnect", "always on: PLLM aborts a call whose client has left"),
    (r"environment_variables", "set them in the environment that PLLM starts in"),
    (r"include", "import each of these files separately"),
    (r"mock_.*", "the fake provider answers instead: python -m loadtest.provider"),
    (r"silent_model", "no mirroring of traffic"),
)
_PATTERNS = tuple((re.compile(pattern), reason) for pattern, reason in _REASONS)


def reason(key: str) -> str:
    return next((reason for pattern, reason in _PATTERNS if pattern.fullmatch(key)), UNKNOWN)
