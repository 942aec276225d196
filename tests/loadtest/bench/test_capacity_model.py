"""The hardware for a load, by arithmetic that can be done by hand."""

import subprocess
import sys

import pytest

from loadtest.bench.capacity_model import DOMAINS_MOST, Costs, plan

COSTS = Costs(gateway_us=300, store_us=100, beat_us=100, store_bytes=1024, busy=0.5, core_hour=0.1)


def test_small_load_still_has_two_replicas() -> None:
    found = plan(1_000, COSTS)

    assert (found.cells, found.replicas, found.domains, found.cores) == (1, 2, 1, 3)


def test_cores_follow_from_the_cost_of_a_request() -> None:
    found = plan(10_000, COSTS)

    assert found.replicas == 6  # 10,000 x 300 us are 3 cores, half busy
    assert found.domains == 3  # 1 core, half busy less the heartbeats of 6 replicas
    assert found.network_mib == pytest.approx(9.77, abs=0.01)
    assert found.month == pytest.approx(9 * 730 * 0.1)


def test_cell_that_is_full_is_followed_by_another() -> None:
    found = plan(1_000_000, COSTS)

    assert found.cells > 1
    assert found.domains <= DOMAINS_MOST
    assert found.cells * found.domains * (COSTS.busy - found.beats) * 1e6 / COSTS.store_us >= 1_000_000
    assert found.cells * found.replicas * COSTS.busy * 1e6 / COSTS.gateway_us >= 1_000_000


MODEL = (sys.executable, "-m", "loadtest.bench.capacity_model")


@pytest.mark.parametrize("flag", ["--busy=1.5", "--store-us=0", "--gateway-us=nan", "--beat-us=-1"])
def test_impossible_figures_are_refused(flag: str) -> None:
    ran = subprocess.run([*MODEL, flag], capture_output=True, text=True)

    assert (ran.returncode, "must be above 0" in ran.stderr) == (2, True)


def test_table_is_printed() -> None:
    rows = subprocess.run(MODEL, capture_output=True, text=True, check=True).stdout.splitlines()[2:]

    assert [row.split("|")[1].strip() for row in rows] == ["1,000", "10,000", "100,000", "1,000,000"]
