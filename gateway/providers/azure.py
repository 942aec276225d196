"""Azure OpenAI: OpenAI's bodies under addresses of its own, of which there are two styles. The newer one looks like
OpenAI's; the older one names the deployment and wants an `api-version`.
"""

from urllib.parse import quote

from gateway.calls import Kind
from gateway.settings import ProviderSettings


def address(provider: ProviderSettings, kind: Kind) -> str:
    resource = provider.base_url.rstrip("/")
    if not provider.api_version:
        return f"{resource}/openai/v1{kind.value}"
    # Of the older style, only responses are no part of a deployment.
    deployment = "" if kind is Kind.RESPONSE else f"/deployments/{quote(provider.model, safe='')}"
    return f"{resource}/openai{deployment}{kind.value}?api-version={quote(provider.api_version, safe='')}"


def headers(provider: ProviderSettings) -> dict[str, str]:
    return {"api-key": str(provider.api_key)} if provider.api_key else {}
