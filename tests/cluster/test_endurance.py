"""What only many requests show: memory that grows, leases that are left behind."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loadtest.process import running_provider
from tests.support.cluster import Cluster, deployment, running_cluster, running_store

REQUESTS = 50_000
RSS_MOST_MIB = 90
RSS_GROWTH_MOST_MIB = 3


def _rss_mib(pid: int) -> float:
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def _load(cluster: Cluster) -> None:
    flags = ["-url", cluster.replicas[0].url, "-model", "gpt-4", "-concurrent", "32", "-requests", str(REQUESTS)]
    subprocess.run([sys.executable, "-m", "loadtest", *flags, "-fail-over", "0"], check=True, timeout=500)


@pytest.mark.long
def test_replica_stays_small_over_a_hundred_thousand_requests() -> None:
    with running_store() as store, running_provider("--name", "instant") as provider:
        models = [deployment("gpt-4-a", provider)]
        with running_cluster(store, [provider], models, engines=["hypercorn"]) as cluster:
            _load(cluster)
            halfway = _rss_mib(cluster.replicas[0].process.pid)
            _load(cluster)
            full = _rss_mib(cluster.replicas[0].process.pid)

            cluster.wait_until_idle()
            assert full <= RSS_MOST_MIB
            assert full - halfway <= RSS_GROWTH_MOST_MIB
