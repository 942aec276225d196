"""Two versions of the scripts on one store: what a rolling upgrade, and a step back from one, goes through."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared_state.scripts import assemble_all
from tests.cluster.conftest import PATIENT, fresh
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess, deployment, in_turn, running_cluster, running_store
from tests.support.versions import ROOT, Version

NEWER = "0.2.0"
SCHEMA = "local SCHEMA, LEARNING_MS, CLOCK_STEP_MS = {},"


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """Every script that writes has another text, and keeps a field that the older ones do not know."""
    version = Version(tmp_path_factory.mktemp("versions"), NEWER)
    line = "record_set(domain, 'clock_ms', domain.now)"
    version.change(
        "lua/include/store/domain.lua", line, f"{line}\n  record_set(domain, 'novel', (domain.novel or 0) + 1)"
    )
    return version


@pytest.fixture(scope="module")
def running(provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    """Two of the older version, on a store of their own."""
    provider = provider_processes[0]
    models = [
        deployment("dead", provider, "dead", cooldown_period="60s"),
        deployment("narrow", provider, "narrow", max_parallel=5),
        deployment("main", provider, "main", max_parallel=1000),
    ]
    router = {"latency_threshold": PATIENT, "max_attempts": 1, "last_resort": False}  # calls are counted
    with (
        running_store() as store,
        running_cluster(store, provider_processes, models, router=router) as cluster,
    ):
        yield cluster


@pytest.fixture
def cluster(running: Cluster) -> Iterator[Cluster]:
    for number, replica in enumerate(running.replicas):
        if replica.environment:
            replace(running, number, {})
    yield from fresh(running)


def replace(cluster: Cluster, number: int, environment: dict[str, str]) -> None:
    """One replica ends as it would in an upgrade, and another version takes its place."""
    before = cluster.replicas[number]
    assert before.stop() == 0
    before.environment = environment
    cluster.restart(before)


def versions(replica: ReplicaProcess) -> list[str]:
    return sorted(each["version"] for each in replica.get("/v1/admin/replicas").json()["replicas"])


def test_versions_side_by_side_are_one_gateway(cluster: Cluster, newer: Version) -> None:
    replace(cluster, 1, newer.environment)
    provider = cluster.providers[0]
    acquires = [assemble_all(folder / "lua")["acquire"] for folder in (ROOT, newer.folder)]
    provider.behave(stall_rate=1)
    held = [replica.begin_chat("narrow", stream=True) for replica in in_turn(cluster.replicas, 5)]
    provider.wait_for(in_flight=5)
    refused = [replica.chat("narrow").status for replica in cluster.replicas]
    for call in held:
        call.leave()
    cluster.wait_until_idle()
    provider.behave(stall_rate=0, error_rate=1)
    provider.request("POST", "/control/reset")
    failed = []
    for replica in in_turn(cluster.replicas, 12):
        failed.append(replica.chat("dead").status)
        cluster.wait_until_idle()

    loaded = {dict(zip(each[::2], each[1::2], strict=True))["library_name"] for each in cluster.redis.function_list()}

    assert versions(cluster.replicas[0]) == ["0.1.0", NEWER]
    assert versions(cluster.replicas[1]) == ["0.1.0", NEWER]
    assert {acquire.library.name for acquire in acquires} <= loaded
    assert int(cluster.redis.hget(cluster.key("global"), "novel")) > 0
    assert refused == [503] * 2
    assert provider.counts()["requests"] == 5  # of both versions together
    assert failed == [502] * 5 + [503] * 7
    assert cluster.transitions("dead") == ["closed>open consecutive_failures"]


@pytest.mark.long
def test_rolling_to_the_newer_version_and_back_loses_nothing(cluster: Cluster, newer: Version) -> None:
    cluster.replicas[0].force("dead", "open", for_ms=600_000)
    cluster.providers[0].behave(chunk_gap_ms=100)
    streamed, plain, seen = [], [], []
    for environment in (newer.environment, {}):
        for number in range(2):
            streams = [replica.begin_chat("main", stream=True) for replica in cluster.replicas]
            for stream in streams:
                stream.peek_until(b"data: ")
            replace(cluster, number, environment)
            for stream in streams:
                with stream:
                    streamed.append(stream.answer())
            plain += [replica.chat("main") for replica in cluster.replicas]
        seen.append(versions(cluster.replicas[0]))
    known = [replica.chat("dead").status for replica in cluster.replicas]

    assert seen == [[NEWER] * 2, ["0.1.0"] * 2]
    assert [(answer.status, answer.is_whole, answer.events[-1]) for answer in streamed] == [(200, True, "[DONE]")] * 8
    assert [answer.status for answer in plain] == [200] * 8
    assert known == [503] * 2  # what was decided before the upgrade


def begun(cluster: Cluster, version: Version, folder: Path, domain: str) -> ReplicaProcess:
    """One of that version, with the cluster's configuration in a domain of its own."""
    config = folder / "other.yaml"
    config.write_text(cluster.replicas[0].config.read_text().replace("domain: default", f"domain: {domain}"))
    return ReplicaProcess("other", config, folder / "other.log", environment=version.environment)


def test_version_that_keeps_its_state_otherwise_leaves_this_one_alone_and_lives_beside_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Such an upgrade is no rolling one within a domain: the next version gets a domain of its own."""
    other = Version(tmp_path, "1.0.0")
    other.change("lua/include/store/domain.lua", SCHEMA.format(1), SCHEMA.format(2))
    other.change("shared_state/connection/store_check.py", "SCHEMA = 1  #", "SCHEMA = 2  #")
    cluster.replicas[0].force("dead", "open", for_ms=600_000)
    refused = begun(cluster, other, tmp_path, "default")
    code, said = refused.process.wait(30), refused.said()
    beside = begun(cluster, other, tmp_path, "second")
    try:
        beside.wait_until_ready()
        statuses = [replica.chat("main").status for replica in (beside, *cluster.replicas)]
        held_open = [replica.chat("dead").status for replica in (beside, *cluster.replicas)]
        schemas = [cluster.redis.hget(f"pllm:{{{domain}}}:global", "schema") for domain in ("default", "second")]
    finally:
        beside.close()

    assert (code, "Traceback" in said) == (1, False)
    assert "key pllm:{default}:global has schema 1, this version writes 2: choose another state.domain" in said
    assert statuses == [200] * 3
    assert held_open == [200, 503, 503]
    assert schemas == ["1", "2"]
