"""Addresses of all kinds, and who is asked where the store is."""

import asyncio
from typing import Any

import pytest

from shared_state.connection.topology import ANSWER_TIMEOUT_S, Topology
from shared_state.errors import StoreRefuses, StoreUnavailable
from tests.support.stores import on_loop


class Answers:
    """Servers that answer as told, by address; the rest refuse. What they were asked is kept."""

    def __init__(self, **by_port: Any) -> None:
        self.by_port = {int(name.removeprefix("port_")): answer for name, answer in by_port.items()}
        self.asked: list[str] = []

    async def __call__(self, url: str, *_commands: tuple[bytes, ...]) -> list[Any]:
        self.asked.append(url)
        for port, answer in self.by_port.items():
            if f":{port}" in url:
                return [answer]
        raise StoreUnavailable("refused")


@pytest.mark.parametrize("url", ["redis://a:1/2", "rediss://u:p@a?ssl_cert_reqs=none", "unix:///run/store.sock"])
@on_loop
async def test_single_server_is_at_its_address(url: str) -> None:
    answers = Answers()

    assert await Topology(url).locate(answers) == url
    assert answers.asked == []


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("redis+sentinel://s1:1,s2/main", "redis://10.0.0.9:6380"),
        ("redis+sentinel://u:p@s1:1,s2/main/3", "redis://u:p@10.0.0.9:6380/3"),
        ("rediss+sentinel://u:p@s1:1,s2/main?ssl_cert_reqs=none", "rediss://u:p@10.0.0.9:6380?ssl_cert_reqs=none"),
    ],
)
@on_loop
async def test_sentinel_names_the_master(url: str, found: str) -> None:
    assert await Topology(url).locate(Answers(port_26379=[b"10.0.0.9", b"6380"])) == found


@on_loop
async def test_sentinels_have_a_password_of_their_own() -> None:
    answers = Answers(port_1=[b"h", b"2"])
    found = await Topology("redis+sentinel://u:p@s:1/main?sentinel_password=q").locate(answers)

    assert (answers.asked, found) == (["redis://:q@s:1"], "redis://u:p@h:2")


@pytest.mark.parametrize(
    ("answer", "said"), [(None, "no service named main"), (StoreRefuses("NOAUTH needed"), "NOAUTH needed")]
)
@on_loop
async def test_sentinel_that_does_not_know_is_reported(answer: object, said: str) -> None:
    with pytest.raises(StoreUnavailable, match=said):
        await Topology("redis+sentinel://s:1/main").locate(Answers(port_1=answer))


@on_loop
async def test_no_sentinel_answers() -> None:
    with pytest.raises(StoreUnavailable, match="address names the store: a:1: refused; b:2: refused"):
        await Topology("redis+cluster://a:1,b:2").locate(Answers())


def slots(*owners: tuple[int, int, bytes, int]) -> list[Any]:
    return [
        [first, last, [host, port, b"id", []], [b"replica", port + 1000, b"id", []]]
        for first, last, host, port in owners
    ]


@on_loop
async def test_cluster_node_that_owns_the_slot_is_taken() -> None:
    """Slot of {default}: 5718."""
    ranges = slots((0, 5717, b"x", 11), (5718, 16383, b"y", 12))
    topology = Topology("redis+cluster://u:p@a:1,b:2", b"pllm:{default}:global")

    assert await topology.locate(Answers(port_2=ranges)) == "redis://u:p@y:12"


@on_loop
async def test_node_without_a_host_is_the_one_that_answered() -> None:
    assert await Topology("redis+cluster://a:1").locate(Answers(port_1=slots((0, 16383, b"", 7)))) == "redis://a:7"


@on_loop
async def test_other_nodes_are_queried_when_every_seed_is_gone() -> None:
    topology = Topology("redis+cluster://a:1")
    await topology.locate(Answers(port_1=slots((0, 16383, b"x", 11))))

    assert await topology.locate(Answers(port_1011=slots((0, 16383, b"y", 12)))) == "redis://y:12"


@on_loop
async def test_slot_without_an_owner_is_reported() -> None:
    with pytest.raises(StoreUnavailable, match="no node owns slot 0"):
        await Topology("redis+cluster://a:1").locate(Answers(port_1=slots((1, 2, b"x", 11))))


@on_loop
async def test_ipv6_hosts_are_written_in_brackets() -> None:
    answers = Answers(port_26379=[b"::1", b"6379"])

    assert await Topology("redis+sentinel://[fe80::1]/main").locate(answers) == "redis://[::1]:6379"
    assert answers.asked == ["redis://[fe80::1]:26379"]


# -- a Sentinel among others ------------------------------------------------------------------------------------


class Votes:
    """Sentinels that name a master each, by host: a problem is raised, and None hangs."""

    def __init__(self, **by_host: tuple[bytes, bytes] | Exception | None) -> None:
        self.by_host = by_host
        self.cancelled = 0

    async def __call__(self, url: str, *_commands: tuple[bytes, ...]) -> list[Any]:
        answer = self.by_host[url.removeprefix("redis://").partition(":")[0]]
        if answer is None:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled += 1
        if isinstance(answer, Exception):
            raise answer
        return [[*answer]] if answer else []


OLD, NEW = (b"old", b"1"), (b"new", b"2")
CLOSED = StoreUnavailable("closed by the store")


@pytest.mark.parametrize("stale", ["a", "b", "c"])
@on_loop
async def test_sentinel_that_was_cut_off_is_outvoted(stale: str) -> None:
    votes = Votes(a=NEW, b=NEW, c=NEW)
    votes.by_host[stale] = OLD

    assert await Topology("redis+sentinel://a,b,c/main").locate(votes) == "redis://new:2"


@pytest.mark.parametrize("problem", [CLOSED, LookupError("no service"), TimeoutError()])
@pytest.mark.parametrize("broken", ["a", "b", "c"])
@on_loop
async def test_sentinel_that_answers_nothing_useful_changes_nothing(broken: str, problem: Exception) -> None:
    votes = Votes(a=NEW, b=NEW, c=NEW)
    votes.by_host[broken] = problem

    assert await Topology("redis+sentinel://a,b,c/main").locate(votes) == "redis://new:2"


@on_loop
async def test_of_as_many_votes_the_first_of_the_address_decides() -> None:
    topology = Topology("redis+sentinel://a,b,c/main")

    assert await topology.locate(Votes(a=NEW, b=OLD, c=CLOSED)) == "redis://new:2"
    assert await topology.locate(Votes(a=CLOSED, b=OLD, c=NEW)) == "redis://old:1"


@on_loop
async def test_only_sentinel_that_is_left_decides() -> None:
    assert await Topology("redis+sentinel://a,b,c/main").locate(Votes(a=CLOSED, b=CLOSED, c=NEW)) == "redis://new:2"


@on_loop
async def test_sentinel_that_hangs_is_waited_for_once() -> None:
    loop = asyncio.get_running_loop()
    topology, votes = Topology("redis+sentinel://a,b,c/main"), Votes(a=None, b=None, c=NEW)
    began_s = loop.time()
    first = await topology.locate(votes)
    between_s = loop.time()
    second = await topology.locate(votes)

    assert first == second == "redis://new:2"
    assert between_s - began_s >= ANSWER_TIMEOUT_S
    assert loop.time() - between_s < ANSWER_TIMEOUT_S / 2
    assert votes.cancelled == 4


@on_loop
async def test_majority_is_not_kept_waiting() -> None:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    found = await Topology("redis+sentinel://a,b,c/main").locate(Votes(a=NEW, b=None, c=NEW))

    assert found == "redis://new:2"
    assert loop.time() - began_s < ANSWER_TIMEOUT_S / 2


@pytest.mark.parametrize("answer", [b"OK", [b"h"], [b"", b"1"], [b"h", b"x"], [1, 2], [b"h", b"1", b"2"], 7])
@on_loop
async def test_nonsense_is_no_vote(answer: object) -> None:
    with pytest.raises(StoreUnavailable, match="a:26379: an unexpected answer"):
        await Topology("redis+sentinel://a/main").locate(Answers(port_26379=answer))


@pytest.mark.parametrize("answer", [b"OK", [1], [[0, 16383]], [[0, 16383, b"x"]], [[b"0", b"1", [b"h", 1]]]])
@on_loop
async def test_nonsense_is_no_node(answer: object) -> None:
    with pytest.raises(StoreUnavailable, match=r"an unexpected answer|no node owns"):
        await Topology("redis+cluster://a:1").locate(Answers(port_1=answer))


@on_loop
async def test_what_hangs_and_what_fails_is_named() -> None:
    with pytest.raises(StoreUnavailable, match="a:26379: closed by the store; b:26379: no answer in time"):
        await Topology("redis+sentinel://a,b/main").locate(Votes(a=CLOSED, b=None))
