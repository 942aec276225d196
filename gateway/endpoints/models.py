"""GET /v1/models and /v1/models/{id}, in OpenAI's format, and in Anthropic's for clients that send
`anthropic-version`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.endpoints.error_forms import expects_message_dialect
from gateway.endpoints.reception import Reception
from gateway.errors import InvalidRequest, ModelNotFound
from gateway.routing.catalog import Catalog

_PAGE_MOST = 1_000  # models on one page of Anthropic's format


class Models:
    """Lists the names of models that the caller's key may use, and the patterns of names. ``created``: the time that
    each of them shows, in seconds since 1970.
    """

    def __init__(self, catalog: Catalog, reception: Reception, created: int) -> None:
        self._catalog = catalog
        self._reception = reception
        self._created = created
        self._created_at = f"{datetime.fromtimestamp(created, UTC):%Y-%m-%dT%H:%M:%SZ}"

    def _visible(self, request: Request) -> list[str]:
        tenant = self._reception.tenant(request.scope)
        routes = {model: self._catalog.resolve(model) for model in self._catalog.models()}
        names = [name for name, route in routes.items() if route and tenant.may_use(name, route.model)]
        return names + [pattern for pattern in self._catalog.patterns if tenant.may_use(pattern)]

    def _is_visible(self, model: str, request: Request) -> bool:
        """Returns whether the caller's key may use a model. One that matches a pattern need not exist."""
        tenant = self._reception.tenant(request.scope)
        route = self._catalog.resolve(model)
        return route is not None and tenant.may_use(model, route.model)

    def _describe(self, model: str, is_message: bool) -> dict[str, object]:
        if is_message:
            return {"type": "model", "id": model, "display_name": model, "created_at": self._created_at}
        return {"id": model, "object": "model", "created": self._created, "owned_by": "pllm"}

    async def index(self, request: Request) -> Response:
        visible, is_message = self._visible(request), expects_message_dialect(request)
        shown, has_more = _page(request, visible) if is_message else (visible, False)
        models = [self._describe(model, is_message) for model in shown]
        if not is_message:
            return _json({"object": "list", "data": models})
        first, last = (shown[0], shown[-1]) if shown else (None, None)
        return _json({"data": models, "has_more": has_more, "first_id": first, "last_id": last})

    async def show(self, request: Request) -> Response:
        model = request.path_params["model"]
        if not model:
            raise HTTPException(404)  # /v1/models/, whose error names /v1/models
        if not self._is_visible(model, request) and model not in self._visible(request):
            raise ModelNotFound(f"The model `{model[:200]}` does not exist.", param="model")
        return _json(self._describe(model, expects_message_dialect(request)))


def _page(request: Request, models: Sequence[str]) -> tuple[Sequence[str], bool]:
    """Returns the models of one page, and whether more follow in its direction; all of them where the query names no
    page. Raises InvalidRequest.
    """
    query = request.query_params
    after, before, limit = query.get("after_id"), query.get("before_id"), query.get("limit", str(_PAGE_MOST))
    if not limit.isascii() or not limit.isdigit() or len(limit) > 4 or not 1 <= int(limit) <= _PAGE_MOST:
        raise InvalidRequest(f"limit must be a whole number from 1 to {_PAGE_MOST}.", param="limit")
    for name, model in (("after_id", after), ("before_id", before)):
        if model is not None and model not in models:
            raise InvalidRequest(f"{name} must be the id of a model in the list.", param=name)
    start = 0 if after is None else models.index(after) + 1
    end = len(models) if before is None else models.index(before)
    left, most = models[start:end], int(limit)
    is_backwards = before is not None and after is None
    return left[-most:] if is_backwards else left[:most], len(left) > most


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
