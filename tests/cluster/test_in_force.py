"""Exactly one configuration in force, with real replicas: one that starts, ends or crashes with another file changes
nothing for the others, and a rolling upgrade needs no hand.
"""

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster, running_store

RELOAD = "/v1/admin/reload"
SKEW = "import time\nreal = time.time\ntime.time = lambda: real() + 86_400\n"

Document = dict[str, Any]


class Deployed:
    """A cluster whose replicas come and go with the files `old` and `new`."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.document: Document = yaml.safe_load(cluster.replicas[0].config.read_text())

    def write(self, name: str, threshold: int, *models: Document) -> Path:
        document = copy.deepcopy(self.document)
        document["router"]["circuit_breaker_threshold"] = threshold
        document["model_list"] = list(models)
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    def begun(self, name: str, file: Path, environment: dict[str, str] | None = None) -> ReplicaProcess:
        """Not ready yet."""
        replica = ReplicaProcess(name, file, self.folder / f"{name}.log", environment=environment)
        self.cluster.replicas.append(replica)
        return replica

    def start(self, name: str, file: Path, environment: dict[str, str] | None = None) -> ReplicaProcess:
        replica = self.begun(name, file, environment)
        replica.wait_until_ready()
        return replica

    def end(self, replica: ReplicaProcess) -> None:
        self.cluster.replicas.remove(replica)
        assert replica.stop() == 0

    def crash(self, replica: ReplicaProcess) -> None:
        self.cluster.replicas.remove(replica)
        replica.kill()

    def threshold(self) -> int | None:
        """In the store, for all replicas."""
        policy = json.loads(self.cluster.redis.get(self.cluster.key("policy")) or "{}")
        found: int | None = policy.get("failure_threshold")
        return found

    def wait_for(self, threshold: int) -> None:
        wait_until(lambda: self.threshold() == threshold, lambda: str(self.threshold()))

    def behind(self, replica: ReplicaProcess) -> list[str]:
        """Names without what tells the lives of a replica apart."""
        return [name.rpartition("-")[0] for name in replica.get("/v1/admin/replicas").json()["behind"]]


def is_behind(replica: ReplicaProcess) -> float:
    [value] = re.findall("(?m)^pllm_config_behind (.+)$", replica.get("/metrics").body.decode())
    return float(value)


def readiness(replica: ReplicaProcess) -> int:
    """Status, 0 while it does not listen yet."""
    try:
        return replica.get("/readyz").status
    except ConnectionRefusedError:
        return 0


def models(provider: ProviderProcess, limit: int, *others: str) -> list[Document]:
    found = [deployment("main-a", provider, "main", max_parallel=limit)]
    return [*found, *(deployment(f"{name}-a", provider, name) for name in others)]


@pytest.fixture
def deployed(provider_processes: list[ProviderProcess]) -> Iterator[Deployed]:
    """Two replicas of the old file: threshold 7, at most 70 at once."""
    with (
        running_store() as store,
        running_cluster(
            store,
            provider_processes,
            models(provider_processes[0], 70),
            router={"circuit_breaker_threshold": 7},
        ) as cluster,
    ):
        yield Deployed(cluster, store.folder)
        cluster.check()


def test_replica_that_starts_with_an_old_file_and_ends_leaves_nothing(deployed: Deployed) -> None:
    first = deployed.cluster.replicas[0]
    before = first.get(RELOAD).json()
    canary = deployed.start("canary", deployed.write("canary", 1, *models(deployed.cluster.providers[0], 3)))
    wait_until(lambda: deployed.behind(first) == ["canary"])
    while_it_lives = (deployed.threshold(), deployed.cluster.deployment("main-a")["limit"], is_behind(canary))
    served = canary.chat("main").status
    deployed.end(canary)

    assert while_it_lives == (7, "70", 1.0)
    assert served == 200
    assert canary.said().count("is not in force: it serves by configuration") == 1
    assert "pllm reload --take mine" in canary.said()
    assert (deployed.threshold(), is_behind(first), deployed.behind(first)) == (7, 0.0, [])
    assert first.request("POST", RELOAD).json()["result"] == "unchanged"
    assert first.get(RELOAD).json()["version"] == before["version"]


def test_rolling_upgrade_with_a_changed_file_needs_no_hand(deployed: Deployed) -> None:
    provider, old = deployed.cluster.providers[0], list(deployed.cluster.replicas)
    file = deployed.write("new", 9, *models(provider, 90, "more"))
    upgraded = []
    for number, before in enumerate(old):
        upgraded.append(deployed.start(f"new{number}", file))
        during = (deployed.threshold(), is_behind(upgraded[-1]), upgraded[-1].chat("main").status)
        deployed.end(before)
        assert during == (7, 1.0, 200)
    deployed.wait_for(9)
    wait_until(lambda: [is_behind(replica) for replica in upgraded] == [0.0, 0.0])

    assert deployed.cluster.deployment("main-a")["limit"] == "90"
    assert [replica.chat("more").status for replica in upgraded] == [200, 200]
    assert upgraded[0].get(RELOAD).json()["behind"] == []


def test_new_file_takes_over_when_the_last_replica_of_the_old_one_is_killed(deployed: Deployed) -> None:
    fresh = deployed.start("new", deployed.write("new", 9, *models(deployed.cluster.providers[0], 90)))
    for replica in deployed.cluster.replicas[:2]:
        deployed.crash(replica)
    wait_until(lambda: deployed.cluster.redis.zcard(deployed.cluster.key("replicas")) == 1)  # the dead are reaped
    deployed.wait_for(9)
    wait_until(lambda: is_behind(fresh) == 0.0)

    assert fresh.chat("main").status == 200


def test_file_without_a_model_in_force_is_not_ready_until_it_is_taken(deployed: Deployed) -> None:
    provider, first = deployed.cluster.providers[0], deployed.cluster.replicas[0]
    lone = deployed.begun("lone", deployed.write("lone", 9, deployment("other-a", provider, "other")))
    wait_until(lambda: "and is not ready: its file has none of the deployments in force for main" in lone.said())
    wait_until(lambda: readiness(lone) == 503)
    command = [sys.executable, "-m", "gateway", "reload", "--take", "mine", "--url", lone.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ.copy())
    lone.wait_until_ready()
    wait_until(lambda: is_behind(first) == 1.0)

    assert (done.returncode, done.stdout.split(":")[0]) == (0, "applied"), done.stdout + done.stderr
    assert deployed.threshold() == 9
    assert lone.chat("other").status == 200
    assert first.get("/readyz").status == 503  # it has no deployment of the model that is in force now
    assert {name.rpartition("-")[0] for name in lone.get(RELOAD).json()["behind"]} == {"r0", "r1"}


def test_clock_that_is_a_day_ahead_decides_nothing(deployed: Deployed, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SKEW)
    old = list(deployed.cluster.replicas)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    ahead = deployed.start(
        "ahead", deployed.write("ahead", 1, *models(deployed.cluster.providers[0], 3)), {"PYTHONPATH": path}
    )
    for replica in old:
        deployed.end(replica)
    deployed.wait_for(1)
    deployed.end(ahead)
    fresh = deployed.start("new", deployed.write("new", 9, *models(deployed.cluster.providers[0], 90)))
    deployed.wait_for(9)

    assert fresh.chat("main").status == 200
    assert fresh.request("POST", RELOAD).json()["result"] == "unchanged"


def test_flushed_store_gets_back_what_was_in_force_in_any_order_of_starts(deployed: Deployed) -> None:
    first = deployed.cluster.replicas[0]
    file = deployed.write("late", 1, *models(deployed.cluster.providers[0], 3))
    late = deployed.begun("late", file)
    deployed.cluster.redis.flushall()
    late.wait_until_ready()
    wait_until(lambda: deployed.behind(first) == ["late"], lambda: late.said())

    assert (deployed.threshold(), deployed.cluster.deployment("main-a")["limit"]) == (7, "70")
    assert [is_behind(replica) for replica in deployed.cluster.replicas] == [0.0, 0.0, 1.0]
