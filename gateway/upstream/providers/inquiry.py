"""A free GET to a provider with its key, such as the list of models. `pllm check --probe` and health checks send it."""

from gateway.configuration.provider import ProviderSettings
from gateway.upstream.providers import anthropic, azure, openai
from gateway.version import VERSION

MODELS = "/models"
_OURS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": f"pllm/{VERSION}"}


def address(provider: ProviderSettings, path: str = MODELS) -> str:
    """Returns the address of ``path`` next to the provider's endpoints."""
    match provider.type:
        case "anthropic":
            return anthropic.base(provider) + path
        case "azure":
            return azure.resource_address(provider, path)
        case "openai":
            return provider.base_url.rstrip("/") + path


def headers(provider: ProviderSettings) -> dict[str, str]:
    match provider.type:
        case "anthropic":
            return _OURS | anthropic.headers(provider)
        case "azure":
            return _OURS | azure.headers(provider)
        case "openai":
            return _OURS | openai.headers(provider)
