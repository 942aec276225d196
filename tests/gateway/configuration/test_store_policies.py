"""A replica under a configuration that is not its file's."""

from gateway.configuration.settings import Settings, parse
from gateway.configuration.store_policies import configuration, served, uncovered

ENTRY = "{{id: {0}, model_name: {1}, provider: {{api_key: sk-1}}}}"


def settings(*entries: str, more: str = "") -> Settings:
    """Entries as `id model`."""
    listed = ", ".join(ENTRY.format(*entry.split()) for entry in entries)
    return parse(f"model_list: [{listed}]\n{more}", {})


OWN = settings("a main", "b main", "c other")


def test_deployments_that_are_not_in_force_are_disabled() -> None:
    under = served(OWN, configuration(settings("a main", "c other", "d new")))

    assert [(entry.id, entry.enabled) for entry in under.model_list] == [("a", True), ("b", False), ("c", True)]


def test_model_is_covered_by_any_of_its_deployments_in_force() -> None:
    assert uncovered(OWN, configuration(settings("b main", "x main"))) == ()


def test_models_without_an_own_deployment_in_force_are_not_covered() -> None:
    in_force = configuration(settings("x main", "c other", "d new"))

    assert uncovered(OWN, in_force) == ("main", "new")


def test_what_is_each_replicas_own_does_not_change_the_fingerprint() -> None:
    own = "server: {port: 9, max_body: 1MiB}\nauth: {admin_key: sk-admin}\n"

    assert configuration(settings("a main", more=own)).fingerprint == configuration(settings("a main")).fingerprint


def test_threshold_of_the_router_changes_the_fingerprint() -> None:
    other = settings("a main", more="router: {circuit_breaker_threshold: 9}\n")

    assert configuration(other).fingerprint != configuration(settings("a main")).fingerprint
