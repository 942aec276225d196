"""The OpenAPI document of the endpoints. The types that validate requests describe them; replies that pass through are
described by the fields that all of them have.
"""

from typing import Any

import msgspec

from gateway.endpoints.openapi.admin import FORCE, admin_paths
from gateway.endpoints.openapi.parts import EVENT, as_json, get, parameter, ref, refusals, streamed
from gateway.endpoints.openapi.request_headers import REQUEST_HEADERS
from gateway.request.auth import TenantRequest
from gateway.request.calls import REQUESTS, Kind
from gateway.request.token_bounds import CountRequest

_SUMMARIES = {
    Kind.CHAT: "A chat completion, plain or streamed",
    Kind.COMPLETION: "A completion, plain or streamed",
    Kind.EMBEDDING: "Embeddings",
    Kind.MESSAGE: "A message in Anthropic's dialect, plain or streamed",
    Kind.RESPONSE: "A response, plain or streamed, from providers with this endpoint",
}
# The field that tells a plain answer of one kind from another.
_ANSWERS = {
    Kind.CHAT: "choices",
    Kind.COMPLETION: "choices",
    Kind.EMBEDDING: "data",
    Kind.MESSAGE: "content",
    Kind.RESPONSE: "output",
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
                "attempts": {"type": "array", "items": {"$ref": "#/components/schemas/Attempt"}},
                "details": {"type": ["array", "object"], "items": {"type": "object"}},  # a list: objections of replicas
            },
        }
    },
}
_MESSAGE_ERROR = {
    "type": "object",
    "required": ["type", "error"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {
                "type": {"type": "string"},
                "message": {"type": "string"},
                "attempts": {"type": "array", "items": {"$ref": "#/components/schemas/Attempt"}},
            },
        },
        "request_id": {"type": "string"},  # of a provider that sent the error
    },
}
_ATTEMPT = {
    "type": "object",
    "required": ["deployment", "outcome"],
    "properties": {
        "deployment": {"type": "string"},
        "outcome": {"type": "string"},
        "status": {"type": "integer"},
    },
}
_MODEL = {
    "type": "object",
    "required": ["id", "object", "created", "owned_by"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": {"type": "string"},
    },
}


def _inference(kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    answer = {"type": "object", "required": [_ANSWERS[kind]]}
    served = as_json(answer, "The answer; as server-sent events when `stream` is true")
    served["content"]["text/event-stream"] = {"schema": EVENT}
    error = "MessageError" if kind is Kind.MESSAGE else "Error"
    return {
        "summary": _SUMMARIES[kind],
        "security": [{"key": []}, {}],
        "parameters": REQUEST_HEADERS,
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {"200": served, **refusals(error)},
    }


def _stored_paths() -> dict[str, Any]:
    """Returns the endpoints of a response that its provider keeps."""
    name = parameter("id", "path", {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.:=-]{0,511}$"})
    anything = {"type": "object"}

    def operation(summary: str, served: dict[str, Any]) -> dict[str, Any]:
        responses = {"200": served, **refusals("Error")}
        return {"summary": summary, "security": [{"key": []}, {}], "parameters": [name], "responses": responses}

    response = streamed(anything, "The response; as server-sent events with `stream=true`")
    path = f"/v1{Kind.RESPONSE.value}/{{id}}"
    return {
        path: {
            "get": operation("A stored response, from the account that made it", response),
            "delete": operation("Deletes a stored response", as_json(anything, "Deleted")),
        },
        f"{path}/cancel": {"post": operation("Cancels a background response", as_json(anything, "The response"))},
        f"{path}/input_items": {"get": operation("The input of a stored response", as_json(anything, "The items"))},
    }


def _count(schema: dict[str, Any], error: str) -> dict[str, Any]:
    answer = {"type": "object", "required": ["input_tokens"], "properties": {"input_tokens": {"type": "integer"}}}
    estimated = {"description": "1 where the gateway has estimated the count", "schema": {"type": "string"}}
    return {
        "summary": "The number of tokens of a request, counted by its provider or estimated",
        "security": [{"key": []}, {}],
        "parameters": REQUEST_HEADERS,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": {**as_json(answer, "The count"), "headers": {"x-pllm-estimate": estimated}}}
        | refusals(error),
    }


def document(version: str) -> bytes:
    """Returns the document as JSON, OpenAPI 3.1."""
    kinds = list(REQUESTS)
    schemas, components = msgspec.json.schema_components(
        [*(REQUESTS[kind] for kind in kinds), TenantRequest, CountRequest], ref_template="#/components/schemas/{name}"
    )
    text = {"type": "string", "minLength": 1}
    models = {"type": "object", "required": ["object", "data"]}
    models["properties"] = {"data": {"type": "array", "items": ref("Model")}}  # type: ignore[assignment]
    plain_text = {"description": "Plain text", "content": {"text/plain": {"schema": {"type": "string"}}}}
    paths: dict[str, Any] = {
        f"/v1{kind.value}": {"post": _inference(kind, schema)} for kind, schema in zip(kinds, schemas, strict=False)
    }
    paths |= {
        **_stored_paths(),
        "/v1/messages/count_tokens": {"post": _count(schemas[-1], "MessageError")},
        "/v1/responses/input_tokens": {"post": _count(schemas[kinds.index(Kind.RESPONSE)], "Error")},
        "/v1/models": get("The models that this key may use", as_json(models, "All of them"), "401"),
        "/v1/models/{model}": get(
            "One model", as_json(ref("Model"), "The model"), "401", "404", parameters=[parameter("model", "path", text)]
        ),
        **admin_paths(),
        "/livez": get("Whether the replica runs", plain_text),
        "/readyz": get("Whether the replica may get requests", plain_text),
        "/metrics": get("Metrics for Prometheus; with admin keys they need the role of a viewer", plain_text, "401"),
    }
    components |= {"Error": _ERROR, "MessageError": _MESSAGE_ERROR, "Attempt": _ATTEMPT, "Model": _MODEL}
    components["Force"] = FORCE
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "PLLM Gateway", "version": version},
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            },
        }
    )
