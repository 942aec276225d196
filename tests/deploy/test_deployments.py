"""What is in `deploy/` for containers: manifests that Kubernetes would take, and settings that a replica would."""

import copy
import importlib.util
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import kubernetes_validate
import msgspec
import pytest
import yaml

from gateway.configuration.settings import exposure_problems, parse
from gateway.views.autoscale import shown
from tests.gateway.endpoints.admin.test_autoscale import SIGNAL
from tests.support import keda

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
VERSION = "1.33"
MANIFESTS = [
    manifest
    for file in sorted((DEPLOY / "kubernetes").rglob("*.yaml"))
    for manifest in yaml.safe_load_all(file.read_text())
]
BUILT_IN = [manifest for manifest in MANIFESTS if "keda" not in manifest["apiVersion"]]
KEDA = [manifest for manifest in MANIFESTS if "keda" in manifest["apiVersion"]]
ENVIRONMENT = {
    "PLLM_ADMIN_KEY": "admin-key-0123456789",
    "PLLM_VIEWER_KEY": "viewer-key-0123456789",
    "PLLM_API_KEY": "api-key-0123456789",
    "OPENAI_API_KEY": "sk-0123456789",
    "REDIS_URL": "redis://valkey:6379/0",
}


def clients_of_the_compose_check() -> ModuleType:
    specification = importlib.util.spec_from_file_location("clients", DEPLOY / "compose/clients.py")
    assert specification is not None
    assert specification.loader is not None
    clients = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(clients)
    return clients


def kind(name: str) -> Any:
    return next(manifest for manifest in MANIFESTS if manifest["kind"] == name)


@pytest.mark.parametrize("manifest", BUILT_IN, ids=lambda manifest: manifest["kind"])
def test_manifest_satisfies_its_schema(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_a_mistake_would_be_seen() -> None:
    wrong = kind("Deployment") | {"spec": kind("Deployment")["spec"] | {"replica": 3}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@pytest.mark.parametrize("manifest", KEDA, ids=lambda manifest: manifest["kind"])
def test_manifest_has_the_fields_that_keda_knows(manifest: dict[str, Any]) -> None:
    keda.validate(manifest)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("spec", "minReplicas", 3),
        ("spec", "minReplicaCount", "3"),
        ("metadata", "annotation", {}),
        ("trigger", "metricsType", "Value"),
        ("query", "threshold", 1),
        ("query", "server", "http://prometheus:9090"),
    ],
)
def test_a_mistake_in_what_keda_reads_would_be_seen(part: str, key: str, value: object) -> None:
    wrong = copy.deepcopy(next(each for each in KEDA if each["kind"] == "ScaledObject"))
    trigger = wrong["spec"]["triggers"][0]
    parts = {"spec": wrong["spec"], "metadata": wrong["metadata"], "trigger": trigger, "query": trigger["metadata"]}
    parts[part][key] = value

    with pytest.raises(msgspec.ValidationError):
        keda.validate(wrong)


def test_autoscalers_agree_with_the_settings_and_scale_the_same_deployment() -> None:
    autoscale = parse(kind("ConfigMap")["data"]["gateway.yaml"], ENVIRONMENT).router.autoscale
    assert autoscale is not None
    hpas = [m["spec"] for m in MANIFESTS if m["kind"] == "HorizontalPodAutoscaler"]
    scaled = [m["spec"] for m in MANIFESTS if m["kind"] == "ScaledObject"]
    bounds = [(spec["minReplicas"], spec["maxReplicas"]) for spec in hpas]
    bounds += [(spec["minReplicaCount"], spec["maxReplicaCount"]) for spec in scaled]

    assert "replicas" not in kind("Deployment")["spec"]  # or each apply would undo what they have done
    assert bounds == [(autoscale.min_replicas, autoscale.max_replicas)] * 4
    assert {spec["scaleTargetRef"]["name"] for spec in (*hpas, *scaled)} == {kind("Deployment")["metadata"]["name"]}
    # One autoscaler a deployment: each of these takes the place of the one that is there by default.
    names = [spec["advanced"]["horizontalPodAutoscalerConfig"]["name"] for spec in scaled]
    assert {*names, *(m["metadata"]["name"] for m in MANIFESTS if m["kind"] == "HorizontalPodAutoscaler")} == {"pllm"}


def test_keda_queries_an_endpoint_of_the_gateway() -> None:
    (trigger,) = [
        trigger
        for manifest in KEDA
        for trigger in manifest["spec"].get("triggers", [])
        if trigger["type"] == "metrics-api"
    ]
    (secret,) = kind("TriggerAuthentication")["spec"]["secretTargetRef"]
    viewer_key = next(
        entry["valueFrom"]["secretKeyRef"]
        for entry in kind("Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
        if entry["name"] == "PLLM_VIEWER_KEY"
    )

    roles = [entry.role for entry in parse(kind("ConfigMap")["data"]["gateway.yaml"], ENVIRONMENT).auth.admin_keys]

    assert roles == ["viewer"]
    assert shown(SIGNAL)[trigger["metadata"]["valueLocation"]] == SIGNAL.desired
    assert trigger["metadata"]["url"].endswith("/v1/admin/autoscale")
    assert trigger["authenticationRef"]["name"] == kind("TriggerAuthentication")["metadata"]["name"]
    assert (secret["parameter"], secret["name"], secret["key"]) == ("token", viewer_key["name"], viewer_key["key"])


@pytest.mark.parametrize(
    "text",
    [kind("ConfigMap")["data"]["gateway.yaml"], (DEPLOY / "compose/gateway.yaml").read_text()],
    ids=["kubernetes", "compose"],
)
def test_settings_are_accepted_and_safe_to_expose(text: str) -> None:
    assert list(exposure_problems(parse(text, ENVIRONMENT))) == []


def test_pod_has_what_its_settings_ask_for_and_the_time_to_drain() -> None:
    pod = kind("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    text = kind("ConfigMap")["data"]["gateway.yaml"]
    server = parse(text, ENVIRONMENT).server

    assert {entry["name"] for entry in container["env"]} == set(re.findall(r"\$\{(\w+)\}", text))
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": server.port, "metrics": server.metrics_port}
    waits_s = ((server.drain_delay_ms or 0) + server.drain_timeout_ms) / 1000
    assert pod["terminationGracePeriodSeconds"] > waits_s + int(container["lifecycle"]["preStop"]["exec"]["command"][1])


def test_no_secret_stands_in_a_manifest() -> None:
    assert not [manifest for manifest in MANIFESTS if manifest["kind"] == "Secret"]
    for entry in kind("Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]:
        assert entry.keys() == {"name", "valueFrom"}


def test_compose_services_are_hardened_and_reachable_from_this_machine_only() -> None:
    services = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())["services"]

    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["mem_limit"], name
        assert service["user"].split(":")[0].isdigit(), name
        assert int(service["user"].split(":")[0]) > 0, name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert re.search(r":[^:{}]*\d[^:{}]*\}?$|:local$", service["image"]), f"{name}: no version"
    assert "ports" not in services["valkey"]


def test_balancer_answers_in_the_gateways_words_where_no_replica_can() -> None:
    text = (DEPLOY / "compose/haproxy.cfg").read_text()
    told = dict(re.findall(r"http-error status (\d+) content-type application/json string '(.+?)'", text))

    assert told.keys() == {"400", "408", "502", "503", "504"}
    for body in told.values():
        error = json.loads(body)["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["message"]
        assert error["code"]


@pytest.mark.parametrize(
    ("lost", "killed_s", "is_excused"),
    [
        ({}, None, True),
        ({"answer cut": [100]}, None, False),
        ({"answer cut": [99], "502 replica_lost": [101]}, (99.5, 100.2), True),
        ({"answer cut": [103]}, (99.5, 100.2), False),  # long after: no longer what it had in hand
        ({"answer cut": [97]}, (99.5, 100.2), False),
        ({"503 no_replica": [100]}, (99.5, 100.2), False),
    ],
)
def test_compose_check_excuses_what_a_killed_replica_had_in_hand_and_nothing_else(
    lost: dict[str, list[float]], killed_s: tuple[float, float] | None, is_excused: bool
) -> None:
    clients = clients_of_the_compose_check()
    failures = Counter({kind: len(times) for kind, times in lost.items()})
    seen = clients.Seen(400, failures, [at_s for times in lost.values() for at_s in times], 1000)

    assert clients.is_excused(seen, killed_s) is is_excused


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([], "docker compose or docker-compose: not here"),
        (["--compose", "v1"], "docker-compose: not here"),
        (["--compose", "v2"], "docker compose: not here"),
    ],
)
def test_compose_check_names_the_missing_compose(wanted: list[str], message: str, tmp_path: Path) -> None:
    command = [sys.executable, str(DEPLOY / "compose/check.py"), *wanted]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{message}\n")


def test_prometheus_scrapes_the_port_for_metrics_which_the_balancer_does_not_pass_on() -> None:
    server = parse((DEPLOY / "compose/gateway.yaml").read_text(), ENVIRONMENT).server
    services = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())["services"]
    (job,) = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]

    assert server.metrics_port == job["dns_sd_configs"][0]["port"]
    assert str(server.metrics_port) not in (DEPLOY / "compose/haproxy.cfg").read_text()
    assert "ports" not in services["gateway"]


def test_compose_does_not_start_with_the_example_of_its_environment() -> None:
    example = dict(re.findall(r"(?m)^(\w+)=(.*)$", (DEPLOY.parent / ".env.example").read_text()))
    environment = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())["services"]["gateway"][
        "environment"
    ]

    assert set(example) == {"PLLM_ADMIN_KEY", "PLLM_API_KEY"}
    assert all(not value and environment[name].startswith(f"${{{name}:?") for name, value in example.items())


def test_compose_check_brings_keys_that_may_be_exposed() -> None:
    keys = clients_of_the_compose_check().KEYS

    assert list(exposure_problems(parse((DEPLOY / "compose/gateway.yaml").read_text(), keys))) == []


def test_container_has_the_time_to_drain() -> None:
    server = parse((DEPLOY / "compose/gateway.yaml").read_text(), ENVIRONMENT).server
    grace = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text())["services"]["gateway"][
        "stop_grace_period"
    ]

    assert int(grace.removesuffix("s")) > ((server.drain_delay_ms or 0) + server.drain_timeout_ms) / 1000
