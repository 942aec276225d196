"""How a load is shared among processes."""

import pytest

from loadtest.load.flags import parse_flags
from loadtest.load.share import share_out


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_shares_of_a_closed_loop_add_up(processes: int) -> None:
    flags = ["-concurrent", "10", "-requests", "101", "-processes", str(processes)]
    shares = share_out(parse_flags(flags))

    assert sum(share.load.concurrent for share in shares) == 10
    assert sum(share.load.requests or 0 for share in shares) == 101
    assert max(share.load.concurrent for share in shares) - min(share.load.concurrent for share in shares) <= 1


def test_open_loop_is_planned_alike_in_all_and_each_takes_its_turns() -> None:
    shares = share_out(parse_flags(["-rps", "100", "-requests", "50", "-processes", "2"]))

    assert [share.load.share for share in shares] == [(0, 2), (1, 2)]
    assert [(share.load.rate, share.load.requests, share.load.seed) for share in shares] == [(100, 50, 1)] * 2


def test_each_process_begins_with_another_address() -> None:
    shares = share_out(parse_flags(["-url", "http://a,http://b", "-concurrent", "3", "-processes", "3"]))

    assert [share.target.urls[0].split("/")[2] for share in shares] == ["a", "b", "a"]
