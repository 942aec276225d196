"""Each script test runs on every kind of store, in a domain of its own, on a clock that stands still."""

from collections.abc import Iterator

import pytest
import redis

from shared_state.embedded import EmbeddedStore
from shared_state.scripts import Script
from tests.support.state import SERVERS, Cluster, connect, running_server, virtual_scripts


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedStore]:
    yield from running_server(request.param)


@pytest.fixture(scope="session")
def scripts() -> dict[str, Script]:
    return virtual_scripts()


@pytest.fixture(scope="session")
def client(server: EmbeddedStore, scripts: dict[str, Script]) -> Iterator[redis.Redis]:
    with connect(server.url) as client:
        for script in scripts.values():
            client.execute_command("SCRIPT", "LOAD", script.text)
        yield client


@pytest.fixture
def cluster(client: redis.Redis, scripts: dict[str, Script]) -> Cluster:
    return Cluster(client, scripts)
