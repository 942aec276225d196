"""Real sockets to every kind of store, on real time."""

from collections.abc import Iterator

import pytest
import redis

from shared_state.embedded import EmbeddedStore
from tests.support.state import SERVERS, connect, running_server


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedStore]:
    yield from running_server(request.param)


@pytest.fixture
def client(server: EmbeddedStore) -> Iterator[redis.Redis]:
    """Sees what the store holds, beside the connections under test."""
    with connect(server.url) as client:
        yield client
