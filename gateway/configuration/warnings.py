"""Finds settings that are allowed but that an operator may not want. `pllm check` and the start report them."""

from collections.abc import Iterator

from gateway.configuration.auth import weak_keys
from gateway.configuration.rules import is_loopback
from gateway.configuration.settings import Settings
from gateway.configuration.yaml_source import Problem


def warnings(settings: Settings) -> Iterator[Problem]:
    """Yields warnings with the paths of their settings."""
    auth = settings.auth
    if auth.admin == "local":
        yield Problem(
            "auth.admin",
            "every program on this machine can administer without a key, and so can every caller of a proxy on it that "
            "adds no header of its own. Set auth.admin_key instead",
        )
    server = settings.server
    if is_loopback(server.host):
        yield from weak_keys(auth)
    is_shown = auth.keys and not auth.admin_key and not auth.admin_keys and server.metrics_port is None
    if is_shown and not is_loopback(server.host):
        yield Problem(
            "server.metrics_port",
            "without it and without an admin key, /metrics shows the tenants and their spending to every caller",
        )
    if settings.router.fallbacks_within_key:
        yield from _chains_cut_short(settings)


def _chains_cut_short(settings: Settings) -> Iterator[Problem]:
    """Yields fallbacks that a key's list of models excludes. Nothing else shows them before an outage."""
    router = settings.router
    chains = (router.fallbacks, router.context_window_fallbacks, router.content_policy_fallbacks)
    for index, entry in enumerate(settings.auth.keys):
        own = {router.aliases.get(name, name) for name in entry.models}
        targets = {name: None for chain in chains for model in own for name in chain.get(model, ()) if name not in own}
        if targets:
            yield Problem(
                f"auth.keys[{index}].models",
                f"no fallback leads this key to {', '.join(targets)}: router.fallbacks_within_key keeps to the list",
            )
