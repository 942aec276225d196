"""Addresses of all kinds, and who is asked where the store is."""

from typing import Any

import pytest

from shared_state.errors import StoreRefuses, StoreUnavailable
from shared_state.topology import Topology
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


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://store", "must begin with one of redis://"),
        ("store:6379", "must begin with one of"),
        ("redis+sentinel://a:1,b:2", "ends in the name of its service"),
        ("redis+sentinel://,b:2/main", "cannot be read"),
        ("redis+cluster://", "cannot be read"),
        ("redis://u:pass/word@a:1", "cannot be read"),
        ("redis+cluster://a:port", "cannot be read"),
        ("redis://a:1/0?nonsense=x&max_connections=many", "cannot be read"),
        ("rediss://a:1?ssl_ca_cert=/ca.pem", "has an option that does not exist"),
        ("redis+sentinel://a:1/main?tls=yes", "has an option that does not exist"),
        ("rediss://a:1?ssl_cert_reqs=maybe", "a value that it cannot have"),
    ],
)
def test_address_that_cannot_be_right_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Topology(url)


@pytest.mark.parametrize("url", ["redis://a:1/2", "rediss://u:p@a?ssl_cert_reqs=none", "unix:///run/store.sock"])
@on_loop
async def test_single_server_is_where_its_address_says(url: str) -> None:
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
async def test_sentinel_that_does_not_know_is_told(answer: object, said: str) -> None:
    with pytest.raises(StoreUnavailable, match=said):
        await Topology("redis+sentinel://s:1/main").locate(Answers(port_1=answer))


@on_loop
async def test_nobody_answers() -> None:
    with pytest.raises(StoreUnavailable, match="no cluster address tells where the store is: refused"):
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
async def test_node_that_leaves_its_host_out_is_the_one_that_was_asked() -> None:
    assert await Topology("redis+cluster://a:1").locate(Answers(port_1=slots((0, 16383, b"", 7)))) == "redis://a:7"


@on_loop
async def test_other_nodes_are_asked_when_every_seed_is_gone() -> None:
    topology = Topology("redis+cluster://a:1")
    await topology.locate(Answers(port_1=slots((0, 16383, b"x", 11))))

    assert await topology.locate(Answers(port_1011=slots((0, 16383, b"y", 12)))) == "redis://y:12"


@on_loop
async def test_slot_without_an_owner_is_told() -> None:
    with pytest.raises(StoreUnavailable, match="nobody owns slot 0"):
        await Topology("redis+cluster://a:1").locate(Answers(port_1=slots((1, 2, b"x", 11))))


@on_loop
async def test_ipv6_hosts_are_written_in_brackets() -> None:
    answers = Answers(port_26379=[b"::1", b"6379"])

    assert await Topology("redis+sentinel://[fe80::1]/main").locate(answers) == "redis://[::1]:6379"
    assert answers.asked == ["redis://[fe80::1]:26379"]
