"""Finds what a request with a wrong method or address should have used: the methods of its path, or the right path."""

from collections.abc import Iterable

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

SHOWN_MOST = 200  # characters of an address in an error
_VERSION = "/v1"


def methods_of(routes: Iterable[BaseRoute], scope: Scope) -> str:
    """Returns the value of `Allow` for the path, OPTIONS included."""
    methods = {method for route in _matching(routes, scope, scope["path"]) for method in route.methods or ()}
    return ", ".join(sorted(methods | {"OPTIONS"}))


def meant_by(routes: Iterable[BaseRoute], scope: Scope) -> str:
    """Returns the address of an endpoint that is the path but for slashes and `/v1`; empty without one."""
    path: str = scope["path"]
    routes = [*routes]
    bare = "/" + path.strip("/")
    candidates = [bare, _VERSION + bare]
    while bare.startswith(f"{_VERSION}{_VERSION}/") and len(bare) <= SHOWN_MOST:
        bare = bare.removeprefix(_VERSION)
        candidates.append(bare)
    for candidate in candidates:
        if candidate != path and len(candidate) <= SHOWN_MOST and _matching(routes, scope, candidate):
            return candidate
    return ""


def _matching(routes: Iterable[BaseRoute], scope: Scope, path: str) -> list[Route]:
    changed = {**scope, "path": path, "root_path": ""}
    return [route for route in routes if isinstance(route, Route) and route.matches(changed)[0] is not Match.NONE]
