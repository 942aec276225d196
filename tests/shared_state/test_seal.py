"""Signatures of records: nothing that was changed, moved or made without the secret is believed."""

import json
import re

import pytest

from shared_state.seal import Seal, body_of

TEXT = b'{"name":"team-a","key_hash":"' + b"a" * 64 + b'","models":["one"]}'
SEAL = Seal("default", ["secret-one"])
SIGNED = SEAL.signed(TEXT)


def test_signed_record_is_the_record_with_a_field_more() -> None:
    fields = json.loads(SIGNED)
    signature = fields.pop("signature")

    assert fields == json.loads(TEXT)
    assert re.fullmatch("[0-9a-f]{64}", signature)
    assert body_of(SIGNED) == TEXT
    assert body_of(TEXT) == TEXT
    assert SEAL.is_believed(SIGNED)


def test_same_record_has_the_same_signature_everywhere() -> None:
    assert Seal("default", ["secret-one"]).signed(TEXT) == SIGNED


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        SIGNED.replace(b"one", b"two"),
        SIGNED.replace(b"a" * 64, b"b" * 64),
        SIGNED.replace(b'"models"', b'"modelS"'),
        SIGNED[:-1] + b',"rpm":5}',
        SIGNED[:-1] + b" }",
        b" " + SIGNED,
        SIGNED + b"\n",
        b'{"rpm":5,' + SIGNED[1:],
        re.sub(rb'"signature":"[0-9a-f]{64}"', b'"signature":"' + b"0" * 64 + b'"', SIGNED),
        re.sub(rb'"signature":"([0-9a-f]{64})"', lambda m: b'"signature":"' + m[1].upper() + b'"', SIGNED),
        re.sub(rb',"signature":"[0-9a-f]{64}"', b',"signature":""', SIGNED),
        Seal("default", ["another"]).signed(TEXT),
        Seal("other-domain", ["secret-one"]).signed(TEXT),
        b"",
        b"{}",
        b"\xff",
        SEAL.signed(SIGNED)[:-67] + b'"}',
    ],
)
def test_record_that_was_not_signed_like_this_is_not_believed(text: bytes) -> None:
    assert not SEAL.is_believed(text)


def test_newest_secret_signs_and_each_verifies() -> None:
    both = Seal("default", ["secret-two", "secret-one"])

    assert both.is_believed(SIGNED)
    assert not both.is_current(SIGNED)
    assert both.is_current(both.signed(TEXT))
    assert SEAL.is_current(SIGNED)
    assert not SEAL.is_believed(both.signed(TEXT))


def test_secret_itself_signs_nothing() -> None:
    """What another use of the same secret reveals must not sign a record."""
    assert b"secret-one" not in SIGNED
    assert Seal("default", ["secret-one"]) == SEAL
    assert Seal("default", ["secret-two"]) != SEAL


def test_without_secrets_records_are_believed_only_where_nothing_is_to_be_protected() -> None:
    unprotected, protected = Seal("default"), Seal("default", is_required=True)

    assert (unprotected.is_open, unprotected.signed(TEXT)) == (True, TEXT)
    assert unprotected.is_believed(TEXT)
    assert unprotected.is_believed(SIGNED)
    assert not protected.is_believed(TEXT)
    assert not protected.is_believed(SIGNED)
    assert unprotected != protected
