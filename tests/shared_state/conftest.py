"""Real sockets to every kind of store, on real time."""

from collections.abc import Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from tests.support.stores import SERVERS, RedisCli, running_server


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedStore]:
    yield from running_server(request.param)


@pytest.fixture(params=SERVERS)
def own_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedStore]:
    """One to stop and to flush."""
    yield from running_server(request.param)


@pytest.fixture
def cli(server: EmbeddedStore) -> Iterator[RedisCli]:
    """Sees what the store holds, beside the connections under test."""
    with RedisCli(server.url) as cli:
        yield cli
