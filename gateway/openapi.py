"""The OpenAPI document of what is served. Requests are described by the very types that check them; of answers that
pass as they are, only what every one of them has.
"""

from typing import Any

import msgspec

from gateway.auth import PRIORITY_LEVELS, TenantRequest
from gateway.calls import REQUESTS, Kind

_SUMMARIES = {
    Kind.CHAT: "A chat completion, plain or streamed",
    Kind.COMPLETION: "A completion, plain or streamed",
    Kind.EMBEDDING: "Embeddings",
    Kind.MESSAGE: "A message in Anthropic's dialect, plain or streamed",
    Kind.RESPONSE: "A response, plain or streamed, of providers that have them",
}
# The field that tells a plain answer of one kind from another.
_ANSWERS = {
    Kind.CHAT: "choices",
    Kind.COMPLETION: "choices",
    Kind.EMBEDDING: "data",
    Kind.MESSAGE: "content",
    Kind.RESPONSE: "output",
}
_FAULTS = {
    "400": "The request is wrong; the error names the field",
    "401": "No or a wrong API key",
    "402": "A budget has no room for what the request may cost; retry-after says when its period turns",
    "403": "The key may not use this model",
    "404": "The model does not exist",
    "408": "The body did not arrive in time",
    "409": "Somebody else has it, or a replica refuses it",
    "413": "The body is too large",
    "422": "The provider found fault with the request",
    "429": "A rate limit is reached, see retry-after",
    "500": "A defect of the gateway",
    "502": "Every candidate was tried and failed",
    "503": "Overloaded, or no deployment can take a request now, see retry-after",
    "504": "No candidate answered in time",
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
                "details": {"type": "array", "items": {"type": "object"}},  # attempts, or what replicas object to
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
                "code": {"type": "string"},
                "details": {"type": "array", "items": {"$ref": "#/components/schemas/Attempt"}},
            },
        },
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
_EVENT = {"type": "object", "required": ["data"], "properties": {"data": {"type": "string"}}}
_ACTIONS = ["open", "close", "disable", "drain", "reset"]


def _json(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _faults(error: str, *statuses: str) -> dict[str, Any]:
    return {status: _json(_ref(error), _FAULTS[status]) for status in statuses or _FAULTS}


def _inference(kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
    answer = {"type": "object", "required": [_ANSWERS[kind]]}
    served = _json(answer, "The answer; as server-sent events when `stream` is true")
    served["content"]["text/event-stream"] = {"schema": _EVENT}
    error = "MessageError" if kind is Kind.MESSAGE else "Error"
    return {
        "summary": _SUMMARIES[kind],
        "security": [{"key": []}, {}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {"200": served, **_faults(error)},
    }


def _get(summary: str, served: dict[str, Any], *faults: str, parameters: list[Any] | None = None) -> dict[str, Any]:
    responses = {"200": served, **_faults("Error", *faults)} if faults else {"200": served}
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": responses}}


def _listing(name: str, *fields: str) -> dict[str, Any]:
    items = {"type": "object", "required": list(fields)}
    return {"type": "object", "required": [name], "properties": {name: {"type": "array", "items": items}}}


def _streamed(schema: dict[str, Any] | None, description: str) -> dict[str, Any]:
    """Also as server-sent events, or only so."""
    content: dict[str, Any] = {"application/json": {"schema": schema}} if schema else {}
    content["text/event-stream"] = {"schema": _EVENT}
    return {"description": description, "content": content}


def _whole(most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": most}


def _optional(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": True, "schema": schema}


_FORCE = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "actor": {"type": "string"},
        "for_ms": {"type": "integer", "minimum": 0},
    },
}


def _admin_paths() -> dict[str, Any]:
    anything, text = {"type": "object"}, {"type": "string", "minLength": 1}
    force = {
        "summary": "Moves a breaker by hand",
        "parameters": [
            _parameter("deployment", "path", text),
            _parameter("action", "path", {"enum": _ACTIONS}),
        ],
        "requestBody": {"content": {"application/json": {"schema": _ref("Force")}}},
        "responses": {
            "200": _json(anything, "The statistics afterwards"),
            **_faults("Error", "400", "401", "403", "404", "503"),
        },
    }
    in_force = _get(
        "The configuration in force, and what each replica runs",
        _json({"type": "object", "required": ["version", "digest", "replicas", "behind"]}, "Versions and digests"),
        *("401", "403", "503"),
    )
    event_id = {"type": "string", "pattern": "^[0-9]{1,18}(-[0-9]{1,18})?$"}
    events = _listing("events", "id", "subject", "from", "to", "reason", "at_ms")
    replicas = _listing("replicas", "id", "silent_ms", "address", "version", "age_ms", "is_draining", "store")
    return {
        "/v1/admin/models/stats": _get("Health, latencies, breakers", _json(anything, "By model"), "401", "403", "503"),
        "/v1/admin/deployments/{deployment}": _get(
            "Everything that is known of a deployment, the latency histogram of its window included",
            _json(anything, "The deployment"),
            *("401", "403", "404", "503"),
            parameters=[_parameter("deployment", "path", text)],
        ),
        "/v1/admin/events": _get(
            "What happened to breakers, load shedding and replicas; as server-sent events where these are accepted",
            _streamed(
                events, "The newest first; next_before names the next page. A stream: what comes after Last-Event-ID"
            ),
            *("400", "401", "403", "429", "503"),
            parameters=[_optional("before", event_id), _optional("limit", _whole(1000))],
        ),
        "/v1/admin/replicas": _get("The replicas", _json(replicas, "By id"), "401", "403", "503"),
        "/v1/admin/autoscale": _get(
            "How many replicas there should be, and why",
            _json({"type": "object", "required": ["desired_replicas"]}, "The same from every replica"),
            *("401", "403", "404", "503"),
        ),
        "/v1/admin/configuration": _get(
            "The settings in force, secrets masked", _json(anything, "As in the file"), "401", "403"
        ),
        "/v1/admin/live": _get(
            "The state once a second: what the page at /admin shows",
            _streamed(None, "First an event `full`, then `delta`: of the deployments those that have changed"),
            *("400", "401", "403", "429"),
            parameters=[_optional("frames", _whole(1_000_000))],
        ),
        "/v1/admin/explain": _get(
            "Which deployment a request would get now",
            _json(
                anything,
                "Each candidate's verdict; where there are budgets, what it costs at most, and what is left of them",
            ),
            *("400", "401", "403", "404", "503"),
            parameters=[
                _parameter("model", "query", text),
                _optional("priority", {"enum": list(PRIORITY_LEVELS)}),
                _optional("tenant", text),
                *(_optional(name, {"type": "integer", "minimum": 0}) for name in ("prompt_bytes", "max_tokens")),
            ],
        ),
        "/v1/admin/deployments/{deployment}/{action}": {"post": force},
        **_tenant_paths(),
        "/v1/admin/reload": {"post": _reload(), **in_force},
    }


def _reload() -> dict[str, Any]:
    answer = {"type": "object", "required": ["result", "version", "digest", "changed", "replicas", "behind"]}
    return {
        "summary": "All replicas read their configuration again; all of them take it, or none",
        "responses": {
            "200": _json(answer, "`applied` or `unchanged`; the names of what changed; what each replica runs"),
            **_faults("Error", "401", "403", "409", "503"),
        },
    }


def _tenant_paths() -> dict[str, Any]:
    anything, name = {"type": "object"}, _parameter("name", "path", {"type": "string", "minLength": 1})
    put = {
        "summary": "Makes or replaces a tenant; a key that is made here is shown once",
        "parameters": [name],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("TenantRequest")}}},
        "responses": {
            "200": _json(anything, "The tenant as it is now"),
            "201": _json(anything, "The new tenant, with its key where none was given"),
            **_faults("Error", "400", "401", "403", "408", "409", "413", "503"),
        },
    }
    remove = {
        "summary": "Takes a tenant's key back",
        "parameters": [name],
        "responses": {"200": _json(anything, "Removed"), **_faults("Error", "400", "401", "403", "404", "503")},
    }
    return {
        "/v1/admin/tenants": _get("The tenants of the store", _json(anything, "Without keys"), "401", "403"),
        "/v1/admin/tenants/{name}": {"put": put, "delete": remove},
    }


def document(version: str) -> bytes:
    """As JSON, OpenAPI 3.1."""
    kinds = list(REQUESTS)
    schemas, components = msgspec.json.schema_components(
        [*(REQUESTS[kind] for kind in kinds), TenantRequest], ref_template="#/components/schemas/{name}"
    )
    text = {"type": "string", "minLength": 1}
    models = {"type": "object", "required": ["object", "data"]}
    models["properties"] = {"data": {"type": "array", "items": _ref("Model")}}  # type: ignore[assignment]
    plain_text = {"description": "Plain text", "content": {"text/plain": {"schema": {"type": "string"}}}}
    paths: dict[str, Any] = {
        f"/v1{kind.value}": {"post": _inference(kind, schema)} for kind, schema in zip(kinds, schemas, strict=False)
    }
    paths |= {
        "/v1/models": _get("The models that this key may ask for", _json(models, "All of them"), "401"),
        "/v1/models/{model}": _get(
            "One model", _json(_ref("Model"), "The model"), "401", "404", parameters=[_parameter("model", "path", text)]
        ),
        **_admin_paths(),
        "/livez": _get("Does it run?", plain_text),
        "/readyz": _get("May it get requests?", plain_text),
        "/metrics": _get("For Prometheus", plain_text),
    }
    components |= {"Error": _ERROR, "MessageError": _MESSAGE_ERROR, "Attempt": _ATTEMPT, "Model": _MODEL}
    components["Force"] = _FORCE
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
