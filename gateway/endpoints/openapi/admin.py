"""The admin endpoints in the OpenAPI document."""

from typing import Any

from gateway.endpoints.openapi.parts import as_json, get, listing, optional, parameter, ref, refusals, streamed, whole
from gateway.request.auth import PRIORITY_LEVELS
from shared_state.records import CALL_KINDS

_ACTIONS = ["open", "close", "disable", "drain", "reset"]


FORCE = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "actor": {"type": "string"},
        "for_ms": {"type": "integer", "minimum": 0},
    },
}


_ANYTHING, _TEXT = {"type": "object"}, {"type": "string", "minLength": 1}


def admin_paths() -> dict[str, Any]:
    return {
        **_state_paths(),
        **_explain_paths(),
        "/v1/admin/deployments/{deployment}/{action}": {"post": _force()},
        **_tenant_paths(),
        "/v1/admin/reload": {"post": _reload(), **_in_force()},
    }


def _state_paths() -> dict[str, Any]:
    event_id = {"type": "string", "pattern": "^[0-9]{1,18}(-[0-9]{1,18})?$"}
    events = listing("events", "id", "subject", "from", "to", "reason", "at_ms")
    replicas = listing(
        "replicas", "id", "silent_ms", "address", "version", "age_ms", "is_draining", "store", "is_behind"
    )
    return {
        "/v1/admin/models/stats": get(
            "Health, latencies, breakers", as_json(_ANYTHING, "By model"), "401", "403", "503"
        ),
        "/v1/admin/deployments/{deployment}": get(
            "All that is known of a deployment: also its last error, the endpoints it lacks, its latency histogram",
            as_json(_ANYTHING, "The deployment"),
            *("401", "403", "404", "503"),
            parameters=[parameter("deployment", "path", _TEXT)],
        ),
        "/v1/admin/events": get(
            "Events of breakers, load shedding and replicas; as server-sent events for clients that accept them",
            streamed(
                events, "The newest first; next_before names the next page. As a stream: the events after Last-Event-ID"
            ),
            *("400", "401", "403", "429", "503"),
            parameters=[optional("before", event_id), optional("limit", whole(1000))],
        ),
        "/v1/admin/replicas": get("The replicas", as_json(replicas, "By id"), "401", "403", "503"),
        "/v1/admin/autoscale": get(
            "The desired number of replicas, and the reasons",
            as_json({"type": "object", "required": ["desired_replicas"]}, "The same from every replica"),
            *("401", "403", "404", "503"),
        ),
        "/v1/admin/usage": _usage(),
        "/v1/admin/configuration": get(
            "The settings in force, secrets masked", as_json(_ANYTHING, "As in the file"), "401", "403"
        ),
        "/v1/admin/live": get(
            "The state once a second, as the page at /admin shows it",
            streamed(None, "First an event `full`, then `delta` events with the deployments that have changed"),
            *("400", "401", "403", "429"),
            parameters=[optional("frames", whole(1_000_000))],
        ),
    }


def _usage() -> dict[str, Any]:
    day = {"type": "string", "format": "date"}
    rows = listing("usage", "requests", "errors", "input_tokens", "output_tokens", "cached_tokens", "cost")
    answer = as_json(rows, "By the values of `by`, and their total; cost in the currency of the prices")
    answer["content"]["text/csv"] = {"schema": {"type": "string"}}
    return get(
        "What tenants used, by day (UTC); as CSV with format=csv or for clients that accept it",
        answer,
        *("400", "401", "403", "503"),
        parameters=[
            *(optional(name, day) for name in ("from", "to")),
            optional("by", {"type": "string", "default": "tenant,model", "example": "tenant,model,day"}),
            optional("format", {"enum": ["json", "csv"]}),
        ],
    )


def _explain_paths() -> dict[str, Any]:
    verdicts = "Each candidate's verdict; with budgets, its highest cost and the rest of each budget"
    return {
        "/v1/admin/explain": get(
            "Which deployment a request would get now",
            as_json(_ANYTHING, verdicts),
            *("400", "401", "403", "404", "503"),
            parameters=[
                parameter("model", "query", _TEXT),
                optional("priority", {"enum": list(PRIORITY_LEVELS)}),
                optional("kind", {"enum": list(CALL_KINDS)}),
                *(optional(name, _TEXT) for name in ("tenant", "session", "tags", "deployment")),
                *(optional(name, {"type": "integer", "minimum": 0}) for name in ("prompt_bytes", "max_tokens")),
            ],
        )
    }


def _force() -> dict[str, Any]:
    return {
        "summary": "Sets a breaker by hand",
        "parameters": [
            parameter("deployment", "path", _TEXT),
            parameter("action", "path", {"enum": _ACTIONS}),
        ],
        "requestBody": {"content": {"application/json": {"schema": ref("Force")}}},
        "responses": {
            "200": as_json(_ANYTHING, "The statistics afterwards"),
            **refusals("Error", "400", "401", "403", "404", "503"),
        },
    }


def _in_force() -> dict[str, Any]:
    return get(
        "The configuration in force, and what each replica runs",
        as_json({"type": "object", "required": ["version", "digest", "replicas", "behind"]}, "Versions and digests"),
        *("401", "403", "503"),
    )


def _reload() -> dict[str, Any]:
    answer = {"type": "object", "required": ["result", "version", "digest", "changed", "replicas", "behind"]}
    return {
        "summary": "Makes all replicas read their configuration again: all of them apply it, or none",
        "parameters": [parameter("take", "query", {"type": "string", "enum": ["mine"]}) | {"required": False}],
        "responses": {
            "200": as_json(answer, "`applied` or `unchanged`; the names of changed settings; what each replica runs"),
            **refusals("Error", "400", "401", "403", "409", "503"),
        },
    }


def _tenant_paths() -> dict[str, Any]:
    name = parameter("name", "path", _TEXT)
    put = {
        "summary": "Creates or replaces a tenant; a generated key is shown once",
        "parameters": [name],
        "requestBody": {"required": True, "content": {"application/json": {"schema": ref("TenantRequest")}}},
        "responses": {
            "200": as_json(_ANYTHING, "The tenant as it is now"),
            "201": as_json(_ANYTHING, "The new tenant, with its key where one was generated"),
            **refusals(
                "Error", "400", "401", "403", "404", "408", "409", "413", "503"
            ),  # 404: a line break ends a path
        },
    }
    remove = {
        "summary": "Removes a tenant and revokes its key",
        "parameters": [name],
        "responses": {"200": as_json(_ANYTHING, "Removed"), **refusals("Error", "400", "401", "403", "404", "503")},
    }
    return {
        "/v1/admin/tenants": get("The tenants of the store", as_json(_ANYTHING, "Without keys"), "401", "403"),
        "/v1/admin/tenants/{name}": {"put": put, "delete": remove},
    }
