"""Each script test runs on every kind of store, in a domain of its own, on a clock that stands still."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared_state.embedded import EmbeddedStore
from shared_state.scripts import Script
from tests.support.state import Cluster, virtual_scripts
from tests.support.stores import SERVERS, RedisCli, running_server

HERE = Path(__file__).parent
SIMULATIONS = frozenset(HERE / name for name in ("test_forecast.py", "test_autoscale.py", "test_adaptive.py"))


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedStore]:
    yield from running_server(request.param)


@pytest.fixture(scope="session")
def scripts() -> dict[str, Script]:
    return virtual_scripts()


@pytest.fixture(scope="session")
def cli(server: EmbeddedStore, scripts: dict[str, Script]) -> Iterator[RedisCli]:
    with RedisCli(server.url) as cli:
        for script in scripts.values():
            cli.do("SCRIPT", "LOAD", script.text)
        yield cli


@pytest.fixture
def cluster(cli: RedisCli, scripts: dict[str, Script]) -> Cluster:
    return Cluster(cli, scripts)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Simulations of weeks take minutes: in `make test` on one kind of store, in `make test-long` on the other."""
    for item in items:
        if item.path in SIMULATIONS and "[redis" in item.name:
            item.add_marker(pytest.mark.long)
