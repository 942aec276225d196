"""Ids that both sides accept are kept; others are replaced, always by the same id."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.dialects import call_ids


@pytest.mark.parametrize("call_id", ["call_abc", "toolu_01A09q90qw90lq917835lq9", "a-b", "x" * 40])
def test_id_that_is_fine_stays(call_id: str) -> None:
    assert (call_ids.for_messages(call_id), call_ids.for_chat(call_id)) == (call_id, call_id)


@given(st.text(), st.text())
def test_translated_ids_are_valid_and_distinct(one: str, other: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", call_ids.for_messages(one))
    assert len(call_ids.for_chat(one)) <= 40
    assert (call_ids.for_messages(one) == call_ids.for_messages(other)) == (one == other)
    assert (call_ids.for_chat(one) == call_ids.for_chat(other)) == (one == other)


FOREIGN = st.text(st.sampled_from("abc019_-.:/ é"), min_size=1, max_size=60)
SIGNATURES = st.none() | st.builds(call_ids.Signature, st.text(min_size=1, max_size=90), st.just("gemini"))


@given(FOREIGN, SIGNATURES)
def test_id_for_a_client_is_accepted_by_both_and_holds_the_providers(
    call_id: str, signature: call_ids.Signature | None
) -> None:
    given_id = call_ids.for_client(call_id, signature)

    assert re.fullmatch(r"[a-zA-Z0-9_-]+", given_id)
    assert signature is not None or len(given_id) <= 64
    assert len(call_ids.for_chat(given_id)) <= 40
    assert call_ids.signature_in(given_id) == signature
    if len(call_id.encode()) <= 36:
        assert call_ids.for_chat(given_id) == call_id


@given(FOREIGN, SIGNATURES)
def test_id_without_its_signature_is_the_same_for_both_turns_of_a_call(
    call_id: str, signature: call_ids.Signature | None
) -> None:
    given_id = call_ids.for_client(call_id, signature)

    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", call_ids.for_messages(given_id))
    assert call_ids.MARK not in call_ids.for_messages(given_id)
    assert call_ids.for_messages(given_id) == call_ids.for_messages(call_ids.for_messages(given_id))


def test_wrapped_ids_of_one_id_are_distinct() -> None:
    """Servers count their calls anew in each turn, and Anthropic requires distinct ids."""
    assert call_ids.for_client("functions.f:0") != call_ids.for_client("functions.f:0")


@pytest.mark.parametrize("text", ["x" * 32_769, ""])
def test_signature_that_is_too_long_or_empty_is_dropped(text: str) -> None:
    assert call_ids.for_client("call_1", call_ids.Signature(text, "gemini")) == "call_1"


@pytest.mark.parametrize(
    "call_id", ["a-pllm-thought-gemini-_", "pllm-thought", "a-pllm-thought-gemini-gA", "pllm-id-000000-gA"]
)
def test_id_that_looks_like_the_gateways_and_is_none_stays_usable(call_id: str) -> None:
    assert call_ids.signature_in(call_id) is None
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", call_ids.for_messages(call_id))
    assert len(call_ids.for_chat(call_id)) <= 40
