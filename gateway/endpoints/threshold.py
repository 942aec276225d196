"""Guards every endpoint while there are no keys: a page of another site must neither spend the money of this machine's
user nor read the gateway's data, whatever host name it uses.
"""

from collections.abc import Callable

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.endpoints.error_forms import rendered
from gateway.request.same_origin import foreign_call


class Threshold:
    """Refuses requests from other sites. ``is_open`` returns whether callers without a key are served."""

    def __init__(self, app: ASGIApp, is_open: Callable[[], bool]) -> None:
        self._app = app
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = foreign_call(scope["headers"]) if scope["type"] == "http" and self._is_open() else None
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await rendered(Request(scope), fault)(scope, receive, send)
