"""The load test's page over a real cluster: breaker events beside what clients saw."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import PATIENCE_S, ProviderProcess
from tests.support.cluster import Cluster, deployment, running_cluster

ADMIN_KEY = "admin-key-of-the-test"


@pytest.fixture
def guarded(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    models = [deployment("sick", provider_processes[0]), deployment("well", provider_processes[1])]
    auth = {"admin_key": ADMIN_KEY, "keys": [{"name": "team-a", "key": "key-of-team-a"}]}
    with running_cluster(store, provider_processes, models, domain="load-page", auth=auth) as running:
        yield running


def load(cluster: Cluster, admin_key: str, out: Path) -> subprocess.CompletedProcess[str]:
    urls = ",".join(replica.url for replica in cluster.replicas)
    flags = ["-url", urls, "-key", "key-of-team-a", "-requests", "60", "-admin-key", admin_key, "-html", str(out)]
    command = [sys.executable, "-m", "loadtest", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=3 * PATIENCE_S)


def test_page_overlays_what_the_breakers_did(guarded: Cluster, tmp_path: Path) -> None:
    guarded.providers[0].behave(error_rate=1)
    done = load(guarded, ADMIN_KEY, tmp_path / "page.html")

    page = (tmp_path / "page.html").read_text()
    assert done.returncode == 0, done.stderr
    assert "sick: closed → open (consecutive_failures)" in page
    assert ">well</td>" in page
    assert {"r0", "r1"} <= {name for name in ("r0", "r1") if f">{name}</td>" in page}
    assert ADMIN_KEY not in page + done.stdout + done.stderr


def test_wrong_admin_key_costs_the_events_only(guarded: Cluster, tmp_path: Path) -> None:
    done = load(guarded, "wrong-key", tmp_path / "page.html")

    assert done.returncode == 0, done.stderr
    assert "answered 403 to /v1/admin/events" in done.stderr
    assert "60 ok, 0 failed" in (tmp_path / "page.html").read_text()
