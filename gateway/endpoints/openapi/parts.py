"""The building blocks of the OpenAPI document."""

from typing import Any

FAULTS = {
    "400": "The request is wrong; the error names the field",
    "401": "The API key is missing or wrong",
    "402": "A budget has no room for the cost of the request; retry-after gives the end of its period",
    "403": "The key may not use this model or endpoint, or the request comes from a page of another site",
    "404": "The model does not exist, or none of its deployments has this endpoint",
    "408": "The body did not arrive in time",
    "409": "Another tenant or request holds it, a replica refuses it, or its account cannot serve it",
    "413": "The body is too large",
    "422": "The provider refused the request",
    "429": "A rate limit is reached, or too many wrong keys came from this address, see retry-after",
    "500": "A defect of the gateway",
    "502": "Every candidate was tried and failed",
    "503": "Overloaded, or no deployment can take a request now, see retry-after",
    "504": "No candidate answered in time",
}
EVENT = {"type": "object", "required": ["data"], "properties": {"data": {"type": "string"}}}


def as_json(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def refusals(error: str, *statuses: str) -> dict[str, Any]:
    """Returns responses for these statuses, or all of them. An endpoint that needs a key also refuses pages of other
    sites and too many wrong keys.
    """
    guarded = dict.fromkeys([*statuses, "403", "429"] if "401" in statuses else statuses)
    return {status: as_json(ref(error), FAULTS[status]) for status in guarded or FAULTS}


def get(summary: str, served: dict[str, Any], *faults: str, parameters: list[Any] | None = None) -> dict[str, Any]:
    responses = {"200": served, **refusals("Error", *faults)} if faults else {"200": served}
    return {"get": {"summary": summary, "parameters": parameters or [], "responses": responses}}


def listing(name: str, *fields: str) -> dict[str, Any]:
    items = {"type": "object", "required": list(fields)}
    return {"type": "object", "required": [name], "properties": {name: {"type": "array", "items": items}}}


def streamed(schema: dict[str, Any] | None, description: str) -> dict[str, Any]:
    """Returns a response as JSON or server-sent events; without a schema only as events."""
    content: dict[str, Any] = {"application/json": {"schema": schema}} if schema else {}
    content["text/event-stream"] = {"schema": EVENT}
    return {"description": description, "content": content}


def whole(most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": most}


def optional(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": True, "schema": schema}
