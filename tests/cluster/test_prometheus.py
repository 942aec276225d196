"""A real Prometheus on a real cluster: what dashboards and alerts ask for parses, and is there."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from shared_state.embedded import EmbeddedStore
from tests.cluster.conftest import heal
from tests.loadtest.process import PATIENCE_S, ProviderProcess, wait_until
from tests.support.cluster import Cluster, deployment, running_cluster, running_store
from tests.support.collector import Collector, running_collector
from tests.support.programs import program
from tests.support.prometheus import DEPLOY, EXEMPLARS, Prometheus, running_prometheus

GRAFANA = DEPLOY / "grafana"
RULES = DEPLOY / "prometheus/alerts.yml"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
RETRIED = {"x-stainless-retry-count": "1"}


@pytest.fixture(scope="module")
def own_store() -> Iterator[EmbeddedStore]:
    with running_store() as running:
        yield running


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


@pytest.fixture(scope="module")
def watched(
    own_store: EmbeddedStore, provider_processes: list[ProviderProcess], collector: Collector
) -> Iterator[Cluster]:
    first, second, *_ = provider_processes
    with running_cluster(
        own_store,
        provider_processes,
        [
            deployment(
                "primary",
                first,
                "gpt-4",
                rpm=1000,
                cost={"input_per_million": 2.5, "output_per_million": 10},
                region="eu",
            ),
            deployment("spare", second, "spare", region="us"),
            deployment("one", first, "one", max_parallel=1),
        ],
        domain="watched",
        state={"deadline": "100ms"},
        environment={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"},
        router={
            "fallbacks": {"gpt-4": ["spare"]},
            "latency_threshold": "8s",
            "queue": {"max_wait": "500ms"},
            "autoscale": {},
            "budget": {"amount": 1000, "per": "month"},
        },
        server={"region": "eu"},
    ) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(
    watched: Cluster, own_store: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Has seen good and bad times."""
    ports = [replica.port for replica in watched.replicas]
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), ports) as running:
        good_and_bad_times(watched, own_store, running)
        yield running


def good_and_bad_times(cluster: Cluster, store: EmbeddedStore, prometheus: Prometheus) -> None:
    """A round of everything, the store away for a moment, and more until everything has been seen to grow."""
    heal(cluster.providers)
    everything(cluster)
    os.kill(store.pid, signal.SIGSTOP)
    try:
        wait_until(
            lambda: all(replica.chat("spare").headers["x-pllm-state"] == "standby" for replica in cluster.replicas)
        )
    finally:
        os.kill(store.pid, signal.SIGCONT)
    wait_until(lambda: all(replica.chat("spare").headers["x-pllm-state"] == "shared" for replica in cluster.replicas))
    ends_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends_s and not all(map(prometheus.series, shown())):
        everything(cluster)  # what is still missing then is told by the tests


def everything(cluster: Cluster) -> None:
    for replica in cluster.replicas:
        replica.chat(headers=RETRIED)
        replica.chat(stream=True)
        replica.chat("spare")
        replica.chat("none")
    cluster.providers[0].behave(error_rate=1)
    cluster.replicas[0].chat()
    cluster.providers[0].behave(error_rate=0)
    cluster.replicas[0].force("spare", "open")
    assert cluster.replicas[0].chat("spare").error["code"] == "no_healthy_deployment"
    cluster.replicas[0].force("spare", "close")
    cluster.providers[0].behave(cut_after_chunks=1)
    cluster.replicas[0].chat(stream=True)
    cluster.providers[0].behave(cut_after_chunks=None, stall_rate=1)
    with cluster.replicas[0].begin_chat("one") as held:
        cluster.providers[0].wait_for(in_flight=1)
        assert cluster.replicas[0].chat("one").status == 503  # it has waited in vain
        cluster.providers[0].behave(stall_rate=0)
        with cluster.replicas[0].begin_chat("one") as waiting:
            wait_until(lambda: cluster.replicas[0].stats()["waiting"] == {"one": 1})
            held.leave()
            waiting.answer()
    cluster.wait_until_idle()


def panels() -> Iterator[Any]:
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                name = f"{file.stem}: {panel['title']}: {target['legendFormat']}"
                yield pytest.param(target["expr"], id=name)


def shown() -> list[str]:
    return [filled_in(panel.values[0]) for panel in panels()]


def rules() -> Iterator[Any]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield pytest.param(rule["expr"], id=rule.get("alert") or rule["record"])


def filled_in(expression: str) -> str:
    """As Grafana would."""
    return expression.replace("$__rate_interval", "1m").replace("$deployment", ".*")


@pytest.mark.parametrize("expression", list(panels()))
def test_every_panel_has_something_to_show(prometheus: Prometheus, expression: str) -> None:
    assert prometheus.series(filled_in(expression))


@pytest.mark.parametrize("expression", list(rules()))
def test_every_rule_has_something_to_judge(prometheus: Prometheus, expression: str) -> None:
    """Without the threshold: in good times nothing is above it."""
    prometheus.series(expression)
    assert prometheus.series(re.sub(r" > [0-9.]+(?: \* [0-9.]+)?", "", expression))


def test_exemplars_lead_to_traces(prometheus: Prometheus, watched: Cluster, collector: Collector) -> None:
    """Of each deployment that answered, and their traces are there to be looked at."""

    def exemplars() -> list[Any]:
        query = "pllm_answer_duration_seconds_bucket"
        found: list[Any] = prometheus.ask("query_exemplars", query=query, start=str(began_s), end=str(time.time()))
        return found

    began_s = time.time() - 600
    wait_until(lambda: {"primary", "spare"} <= {found["seriesLabels"]["deployment"] for found in exemplars()})
    for found in exemplars():
        for exemplar in found["exemplars"]:
            served = collector.trace(exemplar["labels"]["trace_id"], 1)
            assert found["seriesLabels"]["deployment"] in {span.attributes.get("pllm.deployment") for span in served}


def test_exemplars_are_kept_by_compose_and_known_to_grafana() -> None:
    services = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())["services"]
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/pllm.yml").read_text())["datasources"]
    (link,) = next(source for source in sources if source["type"] == "prometheus")["jsonData"][
        "exemplarTraceIdDestinations"
    ]

    assert EXEMPLARS in services["prometheus"]["command"]
    assert link["name"] == "trace_id"
    assert link["datasourceUid"] in {source["uid"] for source in sources if source["type"] == "jaeger"}


def test_annotations_parse(prometheus: Prometheus) -> None:
    for file in DASHBOARDS:
        for mark in json.loads(file.read_text())["annotations"]["list"]:
            prometheus.series(mark["expr"])


def test_prometheus_evaluates_the_rules_without_an_error(prometheus: Prometheus) -> None:
    def healths() -> set[str]:
        return {rule["health"] for group in prometheus.ask("rules")["groups"] for rule in group["rules"]}

    wait_until(lambda: healths() == {"ok"}, lambda: str(healths()))


def test_every_metric_that_is_shown_exists_and_has_a_meaning(watched: Cluster) -> None:
    told = watched.replicas[0].get("/metrics").text
    helped = set(re.findall(r"^# HELP (pllm_\w+) \S", told, re.MULTILINE))
    shown = {name for file in DASHBOARDS for name in re.findall(r"\bpllm_\w+", file.read_text())}

    assert {re.sub(r"_(bucket|count)$", "", name) for name in shown} <= helped


@pytest.mark.parametrize("arguments", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")])
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [program("promtool"), *arguments], cwd=RULES.parent, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_configuration(tmp_path: Path) -> None:
    command = [program("promtool"), "check", "config", "prometheus.yml"]
    done = subprocess.run(command, cwd=RULES.parent, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def builder() -> ModuleType:
    specification = importlib.util.spec_from_file_location("build", GRAFANA / "build.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_dashboards_are_what_their_tables_say() -> None:
    build = builder()

    assert [file.stem for file in DASHBOARDS] == sorted(build.DASHBOARDS)
    for file in DASHBOARDS:
        assert file.read_text() == build.rendered(file.stem)


def test_panels_lie_side_by_side() -> None:
    for file in DASHBOARDS:
        places = [panel["gridPos"] for panel in json.loads(file.read_text())["panels"]]
        assert len({(place["x"], place["y"]) for place in places}) == len(places)
        assert all(place["x"] + place["w"] <= 24 for place in places)
