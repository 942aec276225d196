"""The restriction of a request to some of its model's candidates: the headers x-pllm-deployment and x-pllm-tags, and
the parameters of `GET /v1/admin/explain` with the same meaning.
"""

from collections.abc import Callable
from itertools import chain

import msgspec

from gateway.configuration.settings import DeploymentSettings
from gateway.errors import AdminOnly, InvalidRequest
from gateway.http.asgi_messages import Header
from gateway.request.wishes import DEPLOYMENT, TAGS, value_of
from gateway.routing.routing_state import Route

_SHOWN_MOST = 200


class Names(msgspec.Struct, frozen=True):
    """The names of the two values, for errors."""

    deployment: str = DEPLOYMENT
    tags: str = TAGS


_HEADERS = Names()


def only_of(headers: list[Header], route: Route, may_name: Callable[[], bool]) -> tuple[str, ...]:
    """Returns the deployments that the headers allow; empty without these headers. ``may_name``: whether the caller may
    name a deployment. Raises InvalidRequest, AdminOnly.
    """
    name, tags = value_of(headers, DEPLOYMENT), value_of(headers, TAGS)
    if name is None and tags is None:
        return ()
    if name is not None and not may_name():
        raise AdminOnly(f"{DEPLOYMENT} needs an admin key, or a key that may name deployments.", param=DEPLOYMENT)
    return restricted(route, name, tags, _HEADERS)


def restricted(route: Route, name: str | None, tags: str | None, names: Names) -> tuple[str, ...]:
    """Returns the deployments with this id and with all of these tags, which have commas between them; empty where both
    are None. Raises InvalidRequest.
    """
    if name is None and tags is None:
        return ()
    allowed = {candidate.deployment.id: candidate.deployment for candidate in route.candidates}
    if name is not None:
        allowed = _named(allowed, _items(name), route.model, names.deployment)
    if tags is not None:
        allowed = _tagged(allowed, _items(tags), route.model, names.tags)
        if name is None:
            others = (candidate.deployment for candidate in chain.from_iterable(route.chains.values()))
            allowed |= {each.id: each for each in others if set(_items(tags)) <= set(each.tags)}
    return tuple(allowed)


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")]


def _named(
    allowed: dict[str, DeploymentSettings], name: list[str], model: str, where: str
) -> dict[str, DeploymentSettings]:
    if len(name) > 1 or name[0] not in allowed:
        shown = ",".join(name)[:_SHOWN_MOST]
        message = f"{where} must name one deployment that can serve the model `{model}` here, not `{shown}`."
        raise InvalidRequest(message, param=where)
    return {name[0]: allowed[name[0]]}


def _tagged(
    allowed: dict[str, DeploymentSettings], tags: list[str], model: str, where: str
) -> dict[str, DeploymentSettings]:
    if "" in tags:
        raise InvalidRequest(f"{where} must be tags with commas between them, such as eu,gdpr.", param=where)
    left = {id_: deployment for id_, deployment in allowed.items() if set(tags) <= set(deployment.tags)}
    if not left:
        shown = ",".join(tags)[:_SHOWN_MOST]
        message = f"{where}: no deployment that can serve the model `{model}` here has all of the tags `{shown}`."
        raise InvalidRequest(message, param=where)
    return left
