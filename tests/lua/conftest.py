"""Each script test runs on every kind of store and in both forms, in a domain of its own. The clock stands still."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared_state.embedded import EmbeddedStore
from shared_state.scripts import Script
from tests.support.state import Cluster, virtual_scripts
from tests.support.stores import FORMS, SERVERS, RedisCli, running_server

HERE = Path(__file__).parent
_SIMULATED = ("autoscale", "autoscale_week", "adaptive", "slow_start", "group", "shed")
SIMULATIONS = frozenset(HERE / f"test_{name}.py" for name in _SIMULATED)


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedStore]:
    yield from running_server(request.param)


@pytest.fixture(scope="session", params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def scripts() -> dict[str, Script]:
    return virtual_scripts()


@pytest.fixture(scope="session")
def cli(server: EmbeddedStore, form: str, scripts: dict[str, Script]) -> Iterator[RedisCli]:
    with RedisCli(server.url, form) as cli:
        cli.load(scripts.values())
        yield cli


@pytest.fixture
def cluster(cli: RedisCli, scripts: dict[str, Script]) -> Cluster:
    return Cluster(cli, scripts)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` runs everything in both forms, each on one kind of store; `make test-long` runs the other pairs.
    Simulations take long: in `make test` on one kind of store only.
    """
    for item in items:
        params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        kind, form = params.get("server"), params.get("form")
        is_other = form is not None and kind is not None and (kind == "valkey") != (form == "library")
        if is_other or (item.path in SIMULATIONS and kind == "redis"):
            item.add_marker(pytest.mark.long)
