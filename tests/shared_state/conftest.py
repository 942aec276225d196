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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a replica does without its store depends on sockets and processes, not on the product: `make test` loses
    one product only, `make test-long` the other as well.
    """
    for item in items:
        params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if item.path.name == "test_failover.py" and "redis" in params.values():
            item.add_marker(pytest.mark.long)
