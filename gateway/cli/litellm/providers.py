"""Converts LiteLLM's `model: prefix/name` to a provider: OpenAI, Azure, Anthropic, or an OpenAI-compatible one."""

from typing import Literal, NamedTuple

from gateway.cli.litellm.report import Unusable

Type = Literal["openai", "azure", "anthropic"]


class Provider(NamedTuple):
    """A provider by its prefix."""

    type: Type
    base_url: str = ""  # default address; empty: the file has to give one
    key: str = ""  # LiteLLM's variable for its key
    path: str = ""  # the end of our base_url, which LiteLLM appends to an api_base
    is_fixed: bool = False  # at any other address LiteLLM uses a dialect that we do not support


_OPENAI = Provider("openai", "https://api.openai.com/v1", "OPENAI_API_KEY")
_ANTHROPIC = Provider("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "/v1")
_AZURE = Provider("azure", "", "AZURE_API_KEY")
_OWN_SERVER = Provider("openai")

OPENAI_LIKE = {
    "cerebras": Provider("openai", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "deepinfra": Provider("openai", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    "deepseek": Provider("openai", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "fireworks_ai": Provider("openai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    "gemini": Provider(
        "openai", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", is_fixed=True
    ),
    "groq": Provider("openai", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": Provider("openai", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "nvidia_nim": Provider("openai", "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    "ollama": Provider("openai", "http://localhost:11434/v1", path="/v1"),
    "ollama_chat": Provider("openai", "http://localhost:11434/v1", path="/v1"),
    "openrouter": Provider("openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "perplexity": Provider("openai", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    "together_ai": Provider("openai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    "xai": Provider("openai", "https://api.x.ai/v1", "XAI_API_KEY"),
}
PROVIDERS = {
    "openai": _OPENAI,
    "text-completion-openai": _OPENAI,
    "azure": _AZURE,
    "azure_text": _AZURE,
    "anthropic": _ANTHROPIC,
    "custom_openai": _OWN_SERVER,
    "hosted_vllm": _OWN_SERVER,
    "litellm_proxy": _OWN_SERVER,
    "llamafile": _OWN_SERVER,
    "lm_studio": _OWN_SERVER,
    "openai_like": _OWN_SERVER,
    **OPENAI_LIKE,
}
AZURE_BASE = "AZURE_API_BASE"  # LiteLLM's variable for the address of an Azure resource
_OPENAI_NAMES = ("gpt-", "chatgpt-", "o1", "o3", "o4", "text-embedding-", "text-davinci", "davinci-", "babbage-", "ft:")


class Target(NamedTuple):
    """A model and its provider."""

    provider: Provider
    model: str
    is_like_openai: bool  # called at its OpenAI-compatible address, not in the dialect that LiteLLM uses


def target(model: str, custom: object) -> Target:
    """Returns the target of a model. ``custom``: their custom_llm_provider. Raises Unusable for other providers."""
    prefix, slash, name = model.partition("/")
    if isinstance(custom, str) and custom:
        prefix, name = custom, name if slash and prefix == custom else model
    elif not slash:
        prefix, name = _guess(model), model
    provider = PROVIDERS.get(prefix)
    if provider is None:
        raise Unusable(
            "not a provider of PLLM, which has openai, azure and anthropic; add an OpenAI-compatible address by hand"
        )
    if not name:
        raise Unusable("the name of the model is missing")
    return Target(provider, name, prefix in OPENAI_LIKE)


def _guess(model: str) -> str:
    """Returns the provider of a model without a prefix: LiteLLM knows a few by the model's name."""
    if model.startswith(_OPENAI_NAMES):
        return "openai"
    return "anthropic" if model.startswith("claude-") else ""
