"""Liveness, readiness and metrics. What draining does to them is in tests/gateway/process/test_replica.py."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics_families
from prometheus_client.parser import text_string_to_metric_families

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import START_TIMEOUT_S, Cluster, ReplicaProcess, deployment, running_cluster, running_store
from tests.support.ports import free_port
from tests.support.raw_provider import RawProvider, plain
from tests.support.wire import ask, request_bytes

Samples = Counter[tuple[str, frozenset[tuple[str, str]]]]


def test_replica_is_alive_and_ready(replica: ReplicaProcess) -> None:
    assert replica.get("/livez").status == 200
    assert replica.get("/readyz").status == 200


def test_open_breakers_do_not_make_a_replica_unready(replica: ReplicaProcess) -> None:
    for name in ("primary", "spare"):
        replica.force(name, "open")

    assert replica.get("/readyz").status == 200


def test_metrics_are_in_prometheus_format(replica: ReplicaProcess) -> None:
    answer = replica.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "pllm_state_standby 0.0" in answer.body.decode().splitlines()


def test_metrics_are_in_openmetrics_format_for_clients_that_accept_it(replica: ReplicaProcess) -> None:
    answer = replica.get("/metrics", {"accept": "application/openmetrics-text;version=1.0.0,*/*;q=0.1"})

    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    parse: Callable[[str], Iterable[Metric]] = open_metrics_families
    names = [family.name for family in parse(answer.text)]
    assert len(names) == len(set(names))
    assert {"pllm_state_standby", "pllm_answer_duration_seconds", "process_cpu_seconds", "python_gc_collections"} <= {
        *names
    }


def scraped(replica: ReplicaProcess) -> Samples:
    """As Prometheus reads them."""
    families = text_string_to_metric_families(replica.get("/metrics").text)
    return Counter({(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples})


def changed(before: Samples, after: Samples, name: str, **labels: str) -> float:
    """Of all series of this name that have these labels."""
    keys = [key for key in after if key[0] == name and key[1] >= labels.items()]
    return sum(after[key] - before[key] for key in keys)


def test_requests_are_counted_by_outcome(cluster: Cluster, replica: ReplicaProcess, provider: ProviderProcess) -> None:
    before = scraped(replica)
    replica.chat()
    provider.behave(chunk_gap_ms=5)
    replica.chat(stream=True)
    provider.behave(chunk_gap_ms=0, error_rate=1)
    replica.chat("saved")
    replica.chat()
    replica.chat("unknown")
    provider.behave(error_rate=0, stall_rate=1)
    with replica.begin_chat():
        provider.wait_for(in_flight=1)
    cluster.wait_until_idle()
    after = scraped(replica)

    assert changed(before, after, "pllm_requests_total", model="gpt-4", deployment="primary", outcome="success") == 2
    assert changed(before, after, "pllm_requests_total", model="saved", deployment="spare", outcome="success") == 1
    assert changed(before, after, "pllm_fallbacks_total", **{"from": "saved", "to": "spare"}) == 1
    assert changed(before, after, "pllm_errors_total", status="502", code="upstream_error") == 1
    assert changed(before, after, "pllm_errors_total", status="404", code="model_not_found") == 1
    assert changed(before, after, "pllm_attempts_total") == 7
    assert changed(before, after, "pllm_attempts_total", deployment="primary", outcome="success") == 2
    assert (
        changed(before, after, "pllm_attempts_total", deployment="primary", outcome="failure") == 2
    )  # the last candidate is called twice
    assert changed(before, after, "pllm_attempts_total", deployment="saved-primary", outcome="failure") == 1
    assert changed(before, after, "pllm_attempts_total", deployment="primary", outcome="cancelled") == 1
    assert changed(before, after, "pllm_requests_total", model="gpt-4", deployment="", outcome="cancelled") == 1
    assert changed(before, after, "pllm_tokens_total", deployment="primary", direction="output") == 16
    tokens_in = changed(before, after, "pllm_tokens_total", deployment="primary", direction="input")
    cost = changed(before, after, "pllm_cost_total", deployment="primary")
    assert cost == pytest.approx((2 * tokens_in + 10 * 16) / 1e6)
    assert changed(before, after, "pllm_answer_duration_seconds_count", deployment="primary") == 2
    assert changed(before, after, "pllm_first_byte_seconds_count", deployment="primary") == 1
    assert changed(before, after, "pllm_overhead_seconds_count") == 3
    assert changed(before, after, "pllm_decision_seconds_count") == 3
    assert changed(before, after, "pllm_chunk_gap_seconds_count", deployment="primary") > 0
    assert changed(before, after, "pllm_script_seconds_count", script="acquire") == 7
    assert changed(before, after, "pllm_requests_total", **{"class": "normal"}) == 4


def test_words_of_providers_and_clients_are_no_labels(
    store: EmbeddedStore, provider_processes: list[ProviderProcess], raw_provider: RawProvider
) -> None:
    """Twenty names of every kind that clients choose: they add no more series than the first one."""
    with running_cluster(
        store,
        provider_processes,
        [deployment("primary", provider_processes[0], "gpt-4"), deployment("raw", raw_provider.url, "raw")],
        domain="flooded",
        replicas=1,
        auth={
            "admin": "local",
            "signing_keys": ["key-that-signs-tenants"],
            "keys": [{"name": "first", "key": "key-of-the-first"}],
        },
        server={"trusted_proxies": ["127.0.0.0/8"]},
        metrics={"max_tenants": 1},
    ) as cluster:
        replica = cluster.replicas[0]
        _flood(replica, raw_provider, 0)
        before = scraped(replica)
        for number in range(1, 21):
            _flood(replica, raw_provider, number)
        after = scraped(replica)

    assert changed(before, after, "pllm_requests_total") == 40
    assert changed(before, after, "pllm_errors_total") >= 60
    # A background task has its series from its first run, which may be between the two scrapes.
    assert {key for key in after.keys() - before.keys() if key[0] != "pllm_task_failures_total"} == set()
    assert not any("word-" in str(key) for key in after)


def _flood(replica: ReplicaProcess, raw_provider: RawProvider, number: int) -> None:
    """``number`` is part of each name."""
    word = f"word-{number}-of-a-stranger"
    body = json.dumps({"key": word}).encode()
    assert replica.request("PUT", f"/v1/admin/tenants/{word}", body).status == 201
    headers = {"authorization": f"Bearer {word}"}
    raw_provider.answer = plain(b'{"error": {"message": "no", "code": "%s"}}' % word.encode(), "400 Bad Request")
    assert replica.chat("raw", headers=headers).status == 400
    assert replica.chat("gpt-4", headers=headers).status == 200
    assert replica.chat(word, headers=headers).status == 404
    assert replica.chat("gpt-4", headers=headers | {"x-pllm-priority": word}).status == 400
    stranger = {"authorization": f"Bearer {word}-unknown", "x-forwarded-for": f"10.0.0.{number}"}
    assert replica.chat("gpt-4", headers=stranger).status == 401
    assert replica.get(f"/{word}").status == 404
    replica.request(word.upper(), "/v1/models", headers=headers)


def test_state_of_the_cluster_is_in_the_metrics(cluster: Cluster, replica: ReplicaProcess) -> None:
    replica.force("primary", "open")
    samples = scraped(replica)

    assert samples["pllm_deployment_state", frozenset({("deployment", "primary"), ("state", "forced_open")})] == 1
    assert samples["pllm_deployment_state", frozenset({("deployment", "primary"), ("state", "closed")})] == 0
    assert samples["pllm_deployment_limit", frozenset({("deployment", "spare")})] == 200
    assert samples["pllm_replicas_alive", frozenset()] == 2


def test_deadline_misses_and_the_way_to_the_standby_store_are_counted(
    store: EmbeddedStore, provider_processes: list[ProviderProcess]
) -> None:
    with (
        running_store() as own,
        running_cluster(
            own,
            provider_processes,
            [deployment("primary", provider_processes[0], "gpt-4")],
            domain="scraped",
            replicas=1,
            state={"deadline": "50ms"},
        ) as cluster,
    ):
        replica = cluster.replicas[0]
        before = scraped(replica)
        os.kill(own.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: replica.chat().headers["x-pllm-state"] == "standby")
            meanwhile = scraped(replica)
        finally:
            os.kill(own.pid, signal.SIGCONT)
        wait_until(lambda: replica.chat().headers["x-pllm-state"] == "shared")
        after = scraped(replica)

    assert changed(before, meanwhile, "pllm_state_deadline_misses_total") > 0
    assert changed(before, meanwhile, "pllm_state_standby") == 1
    assert changed(before, after, "pllm_state_switches_total", to="standby") == 1
    assert changed(before, after, "pllm_state_switches_total", to="shared") == 1
    assert ("pllm_deployment_limit", frozenset({("deployment", "primary")})) in meanwhile


def test_scrape_without_any_store_returns_the_replicas_own_counts(
    provider_processes: list[ProviderProcess],
) -> None:
    with (
        running_store() as own,
        running_cluster(
            own,
            provider_processes,
            [deployment("primary", provider_processes[0], "gpt-4")],
            domain="alone",
            replicas=1,
            state={"standby": "none"},
        ) as cluster,
    ):
        replica = cluster.replicas[0]
        replica.chat()
        os.kill(own.pid, signal.SIGSTOP)
        try:
            began_s = time.monotonic()
            samples = scraped(replica)
            took_s = time.monotonic() - began_s
        finally:
            os.kill(own.pid, signal.SIGCONT)

    assert changed(Counter(), samples, "pllm_requests_total", outcome="success") == 1
    assert changed(Counter(), samples, "pllm_deployment_info", deployment="primary") == 1
    assert not any(name in ("pllm_deployment_state", "pllm_active_requests") for name, _ in samples)
    assert took_s < 5, "two seconds for the store, and a busy machine"


def test_metrics_may_have_a_port_of_their_own(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> None:
    port = free_port()
    with running_cluster(
        store,
        provider_processes,
        [deployment("primary", provider_processes[0], "gpt-4")],
        domain="ported",
        replicas=1,
        server={"metrics_port": port},
    ) as cluster:
        replica = cluster.replicas[0]
        own = ask(("127.0.0.1", port), request_bytes("GET", "/metrics"))
        other = ask(("127.0.0.1", port), request_bytes("GET", "/v1/models"))

        assert (own.status, other.status) == (200, 404)
        assert "pllm_replicas_alive 1.0" in own.text
        assert replica.get("/metrics").status == 404
        assert replica.stop() == 0


def test_metrics_port_that_is_in_use_is_reported(
    store: EmbeddedStore, provider_processes: list[ProviderProcess], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = tmp_path / "taken.yaml"
        config.write_text(
            f"server: {{port: {free_port()}, metrics_port: {taken.getsockname()[1]}}}\n"
            f"state: {{url: '{store.url}', domain: taken}}\nmodel_list: [{{id: m-1, model_name: m}}]\n"
        )
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_scrape_while_a_replica_starts_finds_nothing_or_everything(
    store: EmbeddedStore, provider_processes: list[ProviderProcess], tmp_path: Path
) -> None:
    """Its store hangs: it starts on its standby store, and is scraped from its first moment on."""
    with running_store() as own:
        config = tmp_path / "starting.yaml"
        state = {"url": own.url, "domain": "starting", "deadline": "50ms"}
        models = [deployment("primary", provider_processes[0], "gpt-4")]
        config.write_text(json.dumps({"state": state, "model_list": models}))
        os.kill(own.pid, signal.SIGSTOP)
        replica = ReplicaProcess("starting", config, tmp_path / "starting.log")
        try:
            wait_until(lambda: _is_listening(replica), patience_s=START_TIMEOUT_S)
            first = scraped(replica)
        finally:
            os.kill(own.pid, signal.SIGCONT)
            replica.close()

    assert first["pllm_state_standby", frozenset()] == 1
    assert first["pllm_deployment_limit", frozenset({("deployment", "primary")})] > 0
    assert first["process_resident_memory_bytes", frozenset()] > 0
    assert "Traceback" not in replica.said()


def _is_listening(replica: ReplicaProcess) -> bool:
    """What answers at all answers with metrics."""
    try:
        answer = replica.get("/metrics")
    except ConnectionRefusedError:
        return False
    assert answer.status == 200
    return True


def test_scrape_of_as_many_deployments_as_there_may_be_is_bounded_and_quick(
    store: EmbeddedStore, provider_processes: list[ProviderProcess]
) -> None:
    url = provider_processes[0].url
    models = [deployment(f"d-{number}", url, f"m-{number}") for number in range(300)]
    with running_cluster(store, provider_processes, models, domain="many", replicas=1) as cluster:
        replica = cluster.replicas[0]
        first = scraped(replica)
        for number in range(300):
            replica.chat(f"m-{number}", stream=True)
        began_s = time.monotonic()
        last = replica.get("/metrics")
        took_s = time.monotonic() - began_s

    assert changed(Counter(), first, "pllm_deployment_info") == 300
    assert last.status == 200
    assert len(last.body) < 2_000_000
    assert took_s < 5, "the interval of prometheus.yml"
