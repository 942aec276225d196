import gc
from typing import Any

import pytest

from gateway.configuration.auth import AdminKeySettings, AuthSettings, KeySettings, Priority
from gateway.configuration.value_types import Secret
from gateway.http.host_header import Headers
from gateway.request.auth import ANONYMOUS, PRIORITY_LEVELS, Authenticator, Tenant
from gateway.request.presented_keys import digest, presented_keys
from shared_state.policies import UNLIMITED, TenantLimits, TenantRecord

TEAM_A = KeySettings(name="team-a", key=Secret("sk-a"))
TEAM_B = KeySettings(
    name="team-b",
    key=Secret("sk-b"),
    priority="bulk",
    rpm=600,
    tpm=90_000,
    max_parallel=7,
    models=("gpt-4", "fast"),
)
TEAMS = Authenticator(AuthSettings(keys=(TEAM_A, TEAM_B)))
OPEN = Authenticator(AuthSettings())
ADMINISTERED = Authenticator(AuthSettings(admin_key=Secret("sk-admin"), keys=(TEAM_A,)))


def bearer(key: str) -> Headers:
    return [(b"host", b"gateway"), (b"authorization", f"Bearer {key}".encode())]


def name_of(headers: Headers) -> str | None:
    tenant = TEAMS.tenant(headers)
    return tenant.name if tenant else None


def test_bearer_key_names_its_tenant() -> None:
    assert name_of(bearer("sk-a")) == "team-a"


def test_x_api_key_names_its_tenant() -> None:
    assert name_of([(b"x-api-key", b"sk-b")]) == "team-b"


@pytest.mark.parametrize("value", [b"bearer sk-a", b"BEARER sk-a", b"Bearer  sk-a "])
def test_scheme_is_read_in_any_case_and_blanks_around_the_key_are_ignored(value: bytes) -> None:
    assert name_of([(b"authorization", value)]) == "team-a"


def test_one_known_key_beside_an_unknown_one_is_enough() -> None:
    assert name_of([*bearer("something-else"), (b"x-api-key", b"sk-b")]) == "team-b"


@pytest.mark.parametrize("repeated", [(b"authorization", b"Bearer sk-a"), (b"x-api-key", b"sk-a")])
def test_repeated_key_header_is_one_wrong_key(repeated: tuple[bytes, bytes]) -> None:
    headers = [(b"host", b"gateway"), *[repeated] * 2_600]

    assert len(list(presented_keys(headers))) == 1
    assert all(presented_keys(headers))  # an empty one would not count as a guess
    assert TEAMS.tenant(headers) is None


def test_other_scheme_beside_a_bearer_key_is_a_repeated_header() -> None:
    assert name_of([(b"authorization", b"Basic dXNlcg=="), *bearer("sk-a")]) is None


@pytest.mark.parametrize(
    "headers",
    [
        [],
        bearer(""),
        bearer("sk-"),
        bearer("sk-aa"),
        bearer("SK-A"),
        [(b"authorization", b"Basic sk-a")],
        [(b"authorization", b"sk-a")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer \xff\x00")],
        [(b"x-api-key", b"Bearer sk-a")],
        [(b"cookie", b"sk-a")],
    ],
)
def test_missing_or_unknown_key_is_no_tenant(headers: Headers) -> None:
    assert TEAMS.tenant(headers) is None


def test_tenant_has_the_settings_of_its_key() -> None:
    assert TEAMS.tenant(bearer("sk-b")) == Tenant(
        name="team-b",
        priority="bulk",
        priority_level=100,
        models=frozenset({"gpt-4", "fast"}),
        limits=TenantLimits(name="team-b", rpm=600, tpm=90_000, max_parallel=7),
        key=digest(b"sk-b"),
    )


@pytest.mark.parametrize(
    ("priority", "level"), [("critical", 0), ("high", 25), ("normal", 50), ("low", 75), ("bulk", 100)]
)
def test_priority_has_its_level(priority: Priority, level: int) -> None:
    key = KeySettings(name="t", key=Secret("k"), priority=priority)
    tenant = Authenticator(AuthSettings(keys=(key,))).tenant(bearer("k"))

    assert PRIORITY_LEVELS[priority] == level
    assert tenant is not None
    assert tenant.priority_level == level


@pytest.mark.parametrize("headers", [[], bearer("whatever")])
def test_everybody_is_anonymous_where_no_keys_are_configured(headers: Headers) -> None:
    assert OPEN.tenant(headers) is ANONYMOUS
    assert (ANONYMOUS.name, ANONYMOUS.priority, ANONYMOUS.priority_level) == ("anonymous", "normal", 50)
    assert (ANONYMOUS.models, ANONYMOUS.limits) == (frozenset(), UNLIMITED)


def test_admin_key_is_no_tenant() -> None:
    assert ADMINISTERED.tenant(bearer("sk-admin")) is None


# -- tenants of the store ---------------------------------------------------------------------------------------


def record(name: str, key: str, **fields: Any) -> TenantRecord:
    return TenantRecord(name=name, key_hash=digest(key.encode()).hex(), **fields)


def test_key_of_an_admin_that_a_tenant_in_the_store_has_is_found() -> None:
    authenticator = Authenticator(AuthSettings(keys=(TEAM_A,)))
    authenticator.replace_stored({"team-s": record("team-s", "sk-s")}, 1)
    admins = (AdminKeySettings(name="ann", key=Secret("sk-s"), role="viewer"),)
    settings = AuthSettings(admin_key=Secret("sk-s"), admin_keys=admins, keys=(TEAM_B,))

    assert [each.path for each in authenticator.clashes(settings)] == ["auth.admin_key", "auth.admin_keys[0].key"]
    assert not list(authenticator.clashes(AuthSettings(admin_key=Secret("sk-admin"), keys=(TEAM_A,))))


def test_key_of_the_store_names_its_tenant() -> None:
    authenticator = Authenticator(AuthSettings(keys=(TEAM_A,)))
    authenticator.replace_stored({"team-s": record("team-s", "sk-s", priority="high", rpm=5, models=("fast",))}, 1)
    tenant = authenticator.tenant(bearer("sk-s"))

    assert tenant == Tenant(
        name="team-s",
        priority="high",
        priority_level=25,
        models=frozenset({"fast"}),
        limits=TenantLimits(name="team-s", rpm=5),
        key=digest(b"sk-s"),
    )
    assert authenticator.tenant(bearer("sk-a")) is not None


@pytest.mark.parametrize("headers", [[], bearer("whatever"), bearer("sk-s")])
def test_revoking_the_last_stored_key_admits_no_anonymous_caller(headers: Headers) -> None:
    authenticator = Authenticator(AuthSettings())
    authenticator.replace_stored({"team-s": record("team-s", "sk-s")}, 1)
    authenticator.replace_stored({}, 2)
    authenticator.apply_settings(AuthSettings())

    assert authenticator.tenant(headers) is None
    assert not authenticator.is_welcome(ANONYMOUS)


def test_replica_that_starts_after_the_last_stored_key_was_revoked_is_not_open() -> None:
    authenticator = Authenticator(AuthSettings())
    authenticator.replace_stored({}, 2)

    assert authenticator.tenant([]) is None


def test_store_that_never_held_a_tenant_leaves_the_gateway_open() -> None:
    authenticator = Authenticator(AuthSettings())
    authenticator.replace_stored({}, 0)

    assert authenticator.tenant([]) is ANONYMOUS


def test_configured_key_beats_a_stored_record_of_the_same_key() -> None:
    """Otherwise any writer to the store could lift the limits of the configuration."""
    authenticator = Authenticator(AuthSettings(keys=(TEAM_B,)))
    authenticator.replace_stored({"other": record("other", "sk-b", priority="critical")}, 1)
    tenant = authenticator.tenant(bearer("sk-b"))

    assert tenant is not None
    assert (tenant.name, tenant.priority, tenant.limits.rpm) == ("team-b", "bulk", 600)


def test_stored_keys_survive_another_configuration() -> None:
    authenticator = Authenticator(AuthSettings(keys=(TEAM_A,)))
    authenticator.replace_stored({"team-s": record("team-s", "sk-s")}, 1)
    authenticator.apply_settings(AuthSettings(keys=(TEAM_B,)))

    assert [authenticator.tenant(bearer(key)) is not None for key in ("sk-a", "sk-b", "sk-s")] == [False, True, True]


def test_tenant_that_waits_is_welcome_as_long_as_its_key_is_known() -> None:
    authenticator = Authenticator(AuthSettings())
    authenticator.replace_stored({"team-s": record("team-s", "sk-s")}, 1)
    tenant = authenticator.tenant(bearer("sk-s"))
    assert tenant is not None
    before = authenticator.is_welcome(tenant)
    authenticator.replace_stored({}, 2)

    assert (before, authenticator.is_welcome(tenant)) == (True, False)


def test_anonymous_request_that_waits_is_welcome_only_as_long_as_there_are_no_keys() -> None:
    authenticator = Authenticator(AuthSettings())
    before = authenticator.is_welcome(ANONYMOUS)
    authenticator.apply_settings(AuthSettings(keys=(TEAM_A,)))

    assert (before, authenticator.is_welcome(ANONYMOUS)) == (True, False)


def test_authenticator_keeps_no_key_in_any_form_but_its_digest() -> None:
    authenticator = Authenticator(
        AuthSettings(admin_key=Secret("k-admin"), keys=(KeySettings(name="t", key=Secret("k-tenant")),))
    )
    authenticator.tenant(bearer("k-tenant"))
    kept: list[object] = [authenticator]
    for value in kept:
        referents = gc.get_referents(value)
        kept.extend(known for known in referents if isinstance(known, dict | Tenant | str | bytes | frozenset))

    texts = {value for value in kept if isinstance(value, str | bytes)}
    assert {"k-admin", "k-tenant", b"k-admin", b"k-tenant"}.isdisjoint(texts)
    assert "t" in texts
