"""Configurations as LiteLLM might be given: its keys in their places, with values that fit and values that do not."""

from hypothesis import strategies as st

NAMES = st.sampled_from(
    ["gpt-4", "gpt-4o", "claude", "my model", "a.b", "*", "openai/*", "openai/o3", "gpt-4-2", "", "ü"]
)
REFERENCES = st.sampled_from(
    ["os.environ/A", "os.environ/B", "os.environ/OPENAI_API_KEY", "os.environ/-", "${A}", "${"]
)
NUMBERS = st.sampled_from([0, 1, 2, 30, 600, 5000, 90_000, -1, 0.5, 1e-6, 10**12, float("inf"), float("nan"), "7", "x"])
TEXTS = st.sampled_from(["", "a", "sk-secret", "with blank", "2024-02-01", "preview", "\x1b[0m", "x" * 200, "ß"])
ADDRESSES = st.sampled_from(["http://h:1/v1", "https://x.openai.azure.com/", "h:1", "http://u:p@h", "redis://h", "a b"])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS | REFERENCES | ADDRESSES | NAMES
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXTS, inner, max_size=3),
    max_leaves=4,
)
MODELS = st.sampled_from(
    [
        "gpt-4o",
        "openai/gpt-4",
        "azure/eu",
        "anthropic/claude-3",
        "ollama/llama3",
        "openai/*",
        "*",
        "bedrock/x",
        "hosted_vllm/m",
        *("claude-3", "openai/", "/", "os.environ/MODEL", "gemini/g", "groq/l"),
    ]
)
PARAMS = {
    **dict.fromkeys(
        ("rpm", "tpm", "weight", "order", "timeout", "stream_timeout", "cooldown_time"), NUMBERS | REFERENCES
    ),
    **dict.fromkeys(("max_parallel_requests", "num_retries", "input_cost_per_token", "output_cost_per_token"), NUMBERS),
    **dict.fromkeys(("cache_read_input_token_cost", "cache_creation_input_token_cost"), NUMBERS | REFERENCES),
    **dict.fromkeys(("api_key", "organization", "region_name"), TEXTS | REFERENCES),
    "custom_llm_provider": st.sampled_from(["", "openai", "azure", "anthropic", "cohere"]),
    **dict.fromkeys(("api_base", "base_url"), ADDRESSES | REFERENCES),
    **dict.fromkeys(("api_version", "tags", "temperature", "nobody-knows"), VALUES),
}
INFO = {"id": NAMES | TEXTS, "blocked": st.booleans() | VALUES, "mode": TEXTS, "rpm": NUMBERS, "weight": NUMBERS}
SERVED = st.sampled_from(["gpt-4", "claude", "my model", "a.b"])
CHAIN = st.lists(SERVED, min_size=1) | st.lists(SERVED | NAMES, max_size=4) | NAMES | VALUES
CHAINS = (
    st.lists(st.dictionaries(NAMES, CHAIN, max_size=2), max_size=3) | st.dictionaries(NAMES, CHAIN, max_size=3) | VALUES
)
ALIASES = st.dictionaries(NAMES, NAMES | st.fixed_dictionaries({"model": NAMES, "hidden": st.booleans()}), max_size=3)
STRATEGIES = st.sampled_from(["simple-shuffle", "least-busy", "usage-based-routing-v2", "cost-based-routing", "mine"])
ROUTER = {
    **dict.fromkeys(("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"), CHAINS),
    "default_fallbacks": CHAIN,
    "model_group_alias": ALIASES | VALUES,
    "routing_strategy": STRATEGIES | VALUES,
    **dict.fromkeys(("num_retries", "allowed_fails", "cooldown_time", "timeout", "stream_timeout"), NUMBERS | VALUES),
    **dict.fromkeys(("request_timeout", "max_fallbacks", "default_max_parallel_requests"), NUMBERS | VALUES),
    **dict.fromkeys(("retry_policy", "routing_strategy_args", "disable_cooldowns", "unheard of"), VALUES),
}
REDIS = {
    **dict.fromkeys(("host", "password", "username"), TEXTS | REFERENCES),
    **dict.fromkeys(("port", "db"), NUMBERS | REFERENCES),
    **dict.fromkeys(("type", "ssl", "namespace", "sentinel_nodes", "redis_startup_nodes"), VALUES),
    "url": ADDRESSES | REFERENCES,
}
GENERAL = {
    **dict.fromkeys(("master_key", "database_url"), TEXTS | REFERENCES),
    **dict.fromkeys(("max_parallel_requests", "global_max_parallel_requests"), NUMBERS),
    **dict.fromkeys(("max_queued_requests_per_worker", "admission_queue_timeout_seconds"), NUMBERS),
}


def some(fields: dict[str, st.SearchStrategy[object]]) -> st.SearchStrategy[dict[str, object]]:
    return st.sets(st.sampled_from(sorted(fields)), min_size=len(fields) // 2).flatmap(
        lambda keys: st.fixed_dictionaries({key: fields[key] for key in sorted(keys)})
    )


def documents() -> st.SearchStrategy[dict[str, object]]:
    """At least one deployment can be taken over."""
    redis = {f"redis_{key}": value for key, value in REDIS.items() if key in ("host", "port", "password", "url")}
    cache = {"cache": st.booleans(), "cache_params": some(REDIS) | VALUES}
    sections = {
        "router_settings": some({**ROUTER, **redis}),
        "litellm_settings": some({**ROUTER, **cache}),
        "general_settings": some({**GENERAL, "coordination_redis": some(REDIS)}),
    }
    more = {"environment_variables": st.dictionaries(NAMES, TEXTS, max_size=2), "include": VALUES}
    good = _entries(SERVED, st.sampled_from(["gpt-4o", "claude-3"]))
    return st.builds(
        lambda first, others, sections, more: {"model_list": [*first, *others], **sections, **more},
        st.lists(good, min_size=1, max_size=4),
        st.lists(_entries(NAMES, MODELS) | VALUES, max_size=3),
        st.fixed_dictionaries(sections),
        some(more),
    )


def _entries(names: st.SearchStrategy[str], models: st.SearchStrategy[str]) -> st.SearchStrategy[object]:
    params = st.builds(lambda model, rest: {**rest, "model": model}, models, some(PARAMS))
    return st.builds(
        lambda name, params, rest: {"model_name": name, "litellm_params": params, **rest},
        names,
        params,
        some({"model_info": some(INFO) | VALUES, "rpm": NUMBERS, "tpm": NUMBERS}),
    )
