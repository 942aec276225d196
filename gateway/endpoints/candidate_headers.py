"""The request headers that restrict a request to some of its model's candidates: x-pllm-deployment and x-pllm-tags."""

from collections.abc import Callable
from itertools import chain

from gateway.configuration.settings import DeploymentSettings
from gateway.errors import AdminOnly, InvalidRequest
from gateway.http.asgi_messages import Header
from gateway.request.wishes import DEPLOYMENT, TAGS, value_of
from gateway.routing.routing_state import Route

_SHOWN_MOST = 200


def only_of(headers: list[Header], route: Route, may_name: Callable[[], bool]) -> tuple[str, ...]:
    """Returns the deployments that the headers allow; empty without these headers. ``may_name``: whether the caller may
    name a deployment. Raises InvalidRequest, AdminOnly.
    """
    name, tags = _items(headers, DEPLOYMENT), _items(headers, TAGS)
    if not name and not tags:
        return ()
    allowed = {candidate.deployment.id: candidate.deployment for candidate in route.candidates}
    if name:
        if not may_name():
            raise AdminOnly(f"{DEPLOYMENT} needs an admin key, or a key that may name deployments.", param=DEPLOYMENT)
        allowed = _named(allowed, name, route.model)
    if tags:
        allowed = _tagged(allowed, tags, route.model)
    if not name:
        others = (candidate.deployment for candidate in chain.from_iterable(route.chains.values()))
        allowed |= {each.id: each for each in others if set(tags) <= set(each.tags)}
    return tuple(allowed)


def _items(headers: list[Header], name: str) -> list[str]:
    text = value_of(headers, name)
    return [] if text is None else [item.strip() for item in text.split(",")]


def _named(allowed: dict[str, DeploymentSettings], name: list[str], model: str) -> dict[str, DeploymentSettings]:
    if len(name) > 1 or name[0] not in allowed:
        shown = ",".join(name)[:_SHOWN_MOST]
        message = f"{DEPLOYMENT} must name one deployment that can serve the model `{model}` here, not `{shown}`."
        raise InvalidRequest(message, param=DEPLOYMENT)
    return {name[0]: allowed[name[0]]}


def _tagged(allowed: dict[str, DeploymentSettings], tags: list[str], model: str) -> dict[str, DeploymentSettings]:
    if "" in tags:
        raise InvalidRequest(f"{TAGS} must be tags with commas between them, such as eu,gdpr.", param=TAGS)
    left = {id_: deployment for id_, deployment in allowed.items() if set(tags) <= set(deployment.tags)}
    if not left:
        shown = ",".join(tags)[:_SHOWN_MOST]
        message = f"{TAGS}: no deployment that can serve the model `{model}` here has all of the tags `{shown}`."
        raise InvalidRequest(message, param=TAGS)
    return left
