"""The admins, by the configuration and by the origin of a call."""

import pytest

from gateway.configuration.auth import AdminKeySettings, AdminRole, AuthSettings, KeySettings
from gateway.configuration.value_types import Secret
from gateway.http.host_header import Headers
from gateway.request.admins import ADMIN, LOCAL, ROLES, Admin, Admins, Mode
from tests.gateway.request.test_same_origin import RELAYS

KEYS = (KeySettings(name="team-a", key=Secret("sk-a")),)
ADMINISTERED = Admins(AuthSettings(admin_key=Secret("sk-admin"), keys=KEYS))
OPEN, WITH_KEYS = Admins(AuthSettings()), Admins(AuthSettings(keys=KEYS))
BY_CHOICE = Admins(AuthSettings(keys=KEYS, admin="local"))


def bearer(key: str) -> Headers:
    return [(b"host", b"gateway"), (b"authorization", f"Bearer {key}".encode())]


@pytest.mark.parametrize(
    ("admins", "mode"),
    [(ADMINISTERED, "key"), (OPEN, "local"), (WITH_KEYS, "off"), (BY_CHOICE, "local")],
)
def test_mode_follows_from_the_configuration(admins: Admins, mode: Mode) -> None:
    assert admins.mode == mode


@pytest.mark.parametrize("headers", [bearer("sk-admin"), [(b"x-api-key", b"sk-admin")]])
@pytest.mark.parametrize("client_host", ["203.0.113.9", "127.0.0.1", None])
def test_admin_key_administers_from_anywhere(headers: Headers, client_host: str | None) -> None:
    assert ADMINISTERED.of(headers, client_host) is ADMIN


BY_ROLE = Admins(
    AuthSettings(
        admin_key=Secret("sk-admin"),
        admin_keys=tuple(AdminKeySettings(name=f"the-{role}", key=Secret(f"sk-{role}-2"), role=role) for role in ROLES),
    )
)


@pytest.mark.parametrize(
    ("key", "admin"),
    [
        ("sk-admin", ADMIN),
        ("sk-viewer-2", Admin("the-viewer", "viewer")),
        ("sk-operator-2", Admin("the-operator", "operator")),
        ("sk-admin-2", Admin("the-admin", "admin")),
        ("sk-viewer", None),
    ],
)
def test_key_names_its_holder_and_role(key: str, admin: Admin | None) -> None:
    assert BY_ROLE.of(bearer(key), "203.0.113.9") == admin


def test_admin_keys_alone_are_admin_keys() -> None:
    only = Admins(AuthSettings(admin_keys=(AdminKeySettings(name="a", key=Secret("sk-a"), role="viewer"),)))

    assert only.mode == "key"
    assert only.of([], None) is None


@pytest.mark.parametrize("has", ROLES)
@pytest.mark.parametrize("needs", ROLES)
def test_role_holds_those_below_it(has: AdminRole, needs: AdminRole) -> None:
    assert Admin("a", has).may_act_as(needs) is (ROLES.index(has) >= ROLES.index(needs))


@pytest.mark.parametrize("headers", [[], bearer("sk-a"), bearer("sk-admi"), bearer("")])
@pytest.mark.parametrize("client_host", ["203.0.113.9", "127.0.0.1", None])
def test_with_an_admin_key_nothing_else_administers(headers: Headers, client_host: str | None) -> None:
    assert ADMINISTERED.of(headers, client_host) is None


@pytest.mark.parametrize("headers", [[], bearer("sk-a"), bearer("")])
@pytest.mark.parametrize("client_host", ["203.0.113.9", "127.0.0.1", "::1", None])
def test_with_tenants_keys_and_no_admin_key_no_caller_administers(headers: Headers, client_host: str | None) -> None:
    assert WITH_KEYS.of(headers, client_host) is None


@pytest.mark.parametrize("admins", [OPEN, BY_CHOICE])
@pytest.mark.parametrize("client_host", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", None])
def test_callers_on_this_machine_administer_where_that_is_wanted(admins: Admins, client_host: str | None) -> None:
    assert admins.of([], client_host) is LOCAL


@pytest.mark.parametrize("admins", [OPEN, BY_CHOICE])
@pytest.mark.parametrize("client_host", ["10.0.0.1", "128.0.0.1", "::2", "::ffff:10.0.0.1", "0.0.0.0", "localhost", ""])
def test_callers_elsewhere_do_not(admins: Admins, client_host: str) -> None:
    assert admins.of(bearer("sk-a"), client_host) is None


@pytest.mark.parametrize("header", RELAYS)
def test_caller_behind_a_proxy_on_this_machine_is_not_local(header: bytes) -> None:
    assert BY_CHOICE.of([(header, b"127.0.0.1")], "127.0.0.1") is None
