"""The OpenAI dialect, which is also ours: bodies pass as bytes; only the model's name may have to change."""

from gateway.calls import Call, with_model
from gateway.settings import DeploymentSettings

CHAT_PATH = "/chat/completions"


def url(deployment: DeploymentSettings) -> str:
    return deployment.provider.base_url.rstrip("/") + CHAT_PATH


def headers(deployment: DeploymentSettings) -> dict[str, str]:
    """Ours only: what the client sent never reaches a provider."""
    fixed = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    if deployment.provider.api_key:
        fixed["authorization"] = f"Bearer {deployment.provider.api_key}"
    return fixed


def body(deployment: DeploymentSettings, call: Call) -> bytes:
    if deployment.provider.model == call.model:
        return call.body
    return with_model(call.body, deployment.provider.model)
