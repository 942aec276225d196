"""How many clients may be connected, and who makes room."""

import pytest

from gateway.http.client_connections import ClientConnections
from gateway.process.open_files import CONNECTIONS_MOST, connections_most


class Connection:
    def __init__(self) -> None:
        self.is_ended = False

    def end(self) -> None:
        self.is_ended = True


def opened(connections: ClientConnections, count: int, host: str = "a") -> list[Connection]:
    made = [Connection() for _ in range(count)]
    for each in made:
        assert not connections.opened(each, host)
        connections.idle(each)
    return made


def ended(made: list[Connection]) -> list[bool]:
    return [each.is_ended for each in made]


def test_longest_idle_one_makes_room() -> None:
    connections = ClientConnections(3)
    first = opened(connections, 3)
    connections.busy(first[0])
    connections.idle(first[0])
    more = opened(connections, 1)

    assert ended([*first, *more]) == [False, True, False, False]
    assert len(connections) == 3


def test_busy_ones_are_left_and_the_new_one_is_surplus() -> None:
    connections = ClientConnections(2)
    first = opened(connections, 2)
    for each in first:
        connections.busy(each)
    late = Connection()

    assert connections.opened(late, "a")
    assert ended([*first, late]) == [False, False, False]


def test_address_has_a_bound_of_its_own() -> None:
    connections = ClientConnections(10, most_per_address=2)
    other = opened(connections, 2, "b")
    first = opened(connections, 3)
    for each in first:
        connections.busy(each)

    assert ended([*other, *first]) == [False, False, True, False, False]
    assert connections.opened(Connection(), "a")
    assert not connections.opened(Connection(), "c")


def test_closed_connection_is_removed_from_all_counts() -> None:
    connections = ClientConnections(10, most_per_address=1)
    for _ in range(20):
        (made,) = opened(connections, 1)
        connections.busy(made)
        connections.closed(made)
        connections.closed(made)
        connections.idle(made)

    assert len(connections) == 0
    assert not made.is_ended


@pytest.mark.parametrize(("files", "clients"), [(300, 100), (1024, 462), (1 << 20, CONNECTIONS_MOST), (50, 1)])
def test_half_of_the_open_files_are_for_clients(files: int, clients: int) -> None:
    """Each of them may need another one for its provider."""
    assert connections_most(files) == clients


@pytest.mark.parametrize(
    ("most", "connected", "handshakes"),
    [(100, 0, 100), (100, 60, 40), (100, 100, 25), (1, 0, 8), (10_000, 0, 512), (float("inf"), 0, 512)],
)
def test_handshakes_are_bounded_by_the_connections_allowed(most: float, connected: int, handshakes: int) -> None:
    connections = ClientConnections(most)
    opened(connections, connected)

    assert connections.handshakes_most() == handshakes
