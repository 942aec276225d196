"""GET /v1/models and /v1/models/{id}, in OpenAI's format."""

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.endpoints.reception import Reception
from gateway.errors import ModelNotFound
from gateway.routing.catalog import Catalog


class Models:
    """Lists the names of models that the caller's key may use, and the patterns of names."""

    def __init__(self, catalog: Catalog, reception: Reception, created: int) -> None:
        self._catalog = catalog
        self._reception = reception
        self._created = created

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

    def _describe(self, model: str) -> dict[str, object]:
        return {"id": model, "object": "model", "created": self._created, "owned_by": "pllm"}

    async def index(self, request: Request) -> Response:
        models = [self._describe(model) for model in self._visible(request)]
        return _json({"object": "list", "data": models})

    async def show(self, request: Request) -> Response:
        model = request.path_params["model"]
        if not model:
            raise HTTPException(404)  # /v1/models/, whose error names /v1/models
        if not self._is_visible(model, request) and model not in self._visible(request):
            raise ModelNotFound(f"The model `{model[:200]}` does not exist.", param="model")
        return _json(self._describe(model))


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
