"""Azure OpenAI: OpenAI's bodies at Azure's addresses.

They have two styles: the newer one looks like OpenAI's; the older one names the deployment and needs an `api-version`.
"""

from urllib.parse import quote

from gateway.configuration.provider import LimitField, ProviderSettings
from gateway.request.calls import Kind

KNOWN_HEADERS = frozenset({"openai-beta", "idempotency-key"})  # a key of Azure belongs to no organization of OpenAI
_NEW_LIMIT_SINCE = "2024-09-01"


def address(provider: ProviderSettings, kind: Kind) -> str:
    # In the older style, every endpoint except for responses is part of a deployment.
    if not provider.api_version or kind is Kind.RESPONSE:
        return resource_address(provider, kind.value)
    return resource_address(provider, f"/deployments/{quote(provider.model, safe='')}{kind.value}")


def resource_address(provider: ProviderSettings, path: str) -> str:
    resource = provider.base_url.rstrip("/")
    if not provider.api_version:
        return f"{resource}/openai/v1{path}"
    return f"{resource}/openai{path}?api-version={quote(provider.api_version, safe='')}"


def headers(provider: ProviderSettings) -> dict[str, str]:
    if not provider.api_key:
        return {}
    return {"authorization": f"Bearer {provider.api_key}"} if provider.bearer else {"api-key": str(provider.api_key)}


def limit_field(provider: ProviderSettings) -> LimitField:
    """Returns the name of the token limit. Versions older than the new name refuse it."""
    if provider.limit_field:
        return provider.limit_field
    is_old = provider.api_version and provider.api_version < _NEW_LIMIT_SINCE
    return "max_tokens" if is_old else "max_completion_tokens"
