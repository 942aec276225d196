"""The request headers of the inference endpoints, for the OpenAPI document. docs/request-headers.md explains them."""

from typing import Any

from gateway.request.auth import PRIORITY_LEVELS
from gateway.request.wishes import DEPLOYMENT, FALLBACKS, MAX_ATTEMPTS, TAGS


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


REQUEST_HEADERS = [
    _header(
        "x-pllm-priority",
        "Lowers the priority of the key for this request",
        {"type": "string", "enum": list(PRIORITY_LEVELS)},
    ),
    _header(
        "x-pllm-timeout",
        "Shortens the time of this request, its stream included: 30s, 250ms, or a number of seconds",
        {"type": "string", "pattern": r"^\d{1,12}(\.\d{1,12})? ?(ms|s|m|h)?$"},
    ),
    _header(
        FALLBACKS,
        "The models that may take over, in order and separated by commas, instead of the configured ones; `none` for "
        "no other model. Only models that the key may use",
        {"type": "string", "minLength": 1},
    ),
    _header(
        MAX_ATTEMPTS,
        "Lowers the number of attempts of this request",
        {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    ),
    _header(
        TAGS,
        "Only deployments that have all of these tags, separated by commas",
        {"type": "string", "minLength": 1},
    ),
    _header(
        DEPLOYMENT,
        "Only this deployment, which can serve the model; needs an admin key, or a key that may name deployments",
        {"type": "string", "minLength": 1},
    ),
]
