"""Metrics name a bounded number of tenants, the same ones on every replica."""

from gateway.configuration.auth import AuthSettings, KeySettings
from gateway.configuration.value_types import Secret
from gateway.request.auth import Authenticator
from gateway.request.tenant_labels import TenantLabels
from shared_state.policies import TenantRecord

KEYS = tuple(KeySettings(name=name, key=Secret(f"key-{name}")) for name in ("z", "y"))


def test_tenants_beyond_the_bound_share_a_label() -> None:
    labels = TenantLabels(2)
    labels.show(["c", "a", "b"])

    assert [labels.of(name) for name in ("a", "b", "c", "anonymous", "gone")] == [
        "a",
        "other",
        "c",
        "anonymous",
        "other",
    ]


def test_without_named_tenants_all_share_a_label() -> None:
    labels = TenantLabels(0)
    labels.show(["a", "b"])

    assert {labels.of(name) for name in ("a", "b")} == {"other"}


def test_label_ends_with_its_tenant() -> None:
    labels = TenantLabels(2)
    labels.show(["a", "b"])
    labels.show(["b"])

    assert [labels.is_current(name) for name in ("a", "b", "other", "anonymous")] == [False, True, True, True]


def test_order_is_that_of_the_configuration_and_then_that_of_names() -> None:
    """The store may list its tenants in any order."""
    orders = []
    for names in (("d", "c", "z"), ("c", "z", "d")):
        authenticator = Authenticator(AuthSettings(keys=KEYS))
        records = {name: TenantRecord(name=name, key_hash=f"{k:064x}") for k, name in enumerate(names)}
        authenticator.replace_stored(records, 1)
        orders.append(authenticator.names())

    assert orders == [["z", "y", "c", "d"]] * 2
