"""Replies become values; whatever bytes a store holds, the state stays readable."""

import pytest

from shared_state.calls import replies, view_replies
from shared_state.errors import NotConfigured
from shared_state.policies import TenantLimits
from shared_state.records import Ask, MinuteUsed, Permit, Rejection

IDS = ("a", "b")
ASK = Ask(0, True, tenant=TenantLimits(name="team"))


def test_grant_becomes_a_permit() -> None:
    decision = replies.acquired([b"granted", 2, 7, 1, 99, b"epoch", 5, 60, 70], "t", ASK, IDS)

    assert decision == Permit("t", 1, "b", 7, True, ASK, 99, MinuteUsed(60, 70))


def test_refusal_becomes_a_rejection_with_its_verdicts() -> None:
    decision = replies.acquired([b"none", b"none", 1500, 99, b"epoch", 5, 60, 70, b"open", b"full"], "t", ASK, IDS)

    assert decision == Rejection("none", "none", 1500, 99, ("open", "full"), MinuteUsed(60, 70))


@pytest.mark.parametrize("reply", [[b"unconfigured"]])
def test_unconfigured_store_is_an_error(reply: list[object]) -> None:
    with pytest.raises(NotConfigured):
        replies.acquired(reply, "t", ASK, IDS)
    with pytest.raises(NotConfigured):
        view_replies.explained(reply, IDS)


def test_name_cut_in_the_middle_of_a_character_is_still_shown() -> None:
    head: list[object] = [b"e", 1, 2, 3, 4, 5, b"", b"1", 0, 0, b"30"]
    row: list[object] = [b"state", b"forced_open", b"open_reason", "open by Žofie".encode()[:9]]
    snapshot = view_replies.snapshot([[head, row]], [("a",)])

    assert snapshot.deployments[0].open_reason.startswith("open by ")
