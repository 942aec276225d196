"""Each script test runs on every kind of store, in a domain of its own, on a clock that stands still."""

from collections.abc import Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from shared_state.scripts import Script
from tests.support.state import Cluster, virtual_scripts
from tests.support.stores import SERVERS, RedisCli, running_server


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
