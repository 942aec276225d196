"""The digests of ids: of one tenant, and of no readable part."""

from shared_state.calls.owned import digest_of


def test_digest_belongs_to_one_tenant_and_one_id() -> None:
    digests = {digest_of(tenant, name) for tenant in ("a", "ab", "") for name in ("resp_1", "bresp_1", "")}

    assert len(digests) == 9
    assert digest_of("a", "resp_1") == digest_of("a", "resp_1")


def test_digest_reveals_nothing_and_takes_any_text() -> None:
    digest = digest_of("team", "resp_1\ud800" * 1000)

    assert len(digest) == 32
    assert "team" not in digest
