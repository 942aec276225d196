"""Liveness, readiness and metrics. What draining does to them is in tests/gateway/test_server.py."""

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import RawProvider, plain

Samples = Counter[tuple[str, frozenset[tuple[str, str]]]]


def test_replica_is_alive_and_ready(each_engine: ReplicaProcess) -> None:
    assert each_engine.get("/livez").status == 200
    assert each_engine.get("/readyz").status == 200


def test_open_breakers_do_not_make_a_replica_unready(replica: ReplicaProcess) -> None:
    for deployment in ("primary", "spare"):
        replica.force(deployment, "open")

    assert replica.get("/readyz").status == 200


def test_metrics_are_in_prometheus_format(each_engine: ReplicaProcess) -> None:
    answer = each_engine.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "pllm_state_standby 0.0" in answer.body.decode().splitlines()


def scraped(replica: ReplicaProcess) -> Samples:
    """As Prometheus reads them."""
    families = text_string_to_metric_families(replica.get("/metrics").text)
    return Counter({(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples})


def changed(before: Samples, after: Samples, name: str, **labels: str) -> float:
    key = (name, frozenset(labels.items()))
    return after[key] - before[key]


def test_requests_are_counted_by_what_became_of_them(
    cluster: Cluster, each_engine: ReplicaProcess, provider: ProviderProcess
) -> None:
    before = scraped(each_engine)
    each_engine.chat()
    each_engine.chat(stream=True)
    provider.behave(error_rate=1)
    each_engine.chat("saved")
    each_engine.chat()
    each_engine.chat("unknown")
    provider.behave(error_rate=0, stall_rate=1)
    with each_engine.begin_chat():
        provider.wait_for(in_flight=1)
    cluster.wait_until_idle()
    after = scraped(each_engine)

    assert changed(before, after, "pllm_requests_total", model="gpt-4", deployment="primary", outcome="success") == 2
    assert changed(before, after, "pllm_requests_total", model="saved", deployment="spare", outcome="success") == 1
    assert changed(before, after, "pllm_fallbacks_total", **{"from": "saved", "to": "spare"}) == 1
    assert changed(before, after, "pllm_errors_total", status="502", code="upstream_error") == 1
    assert changed(before, after, "pllm_errors_total", status="404", code="model_not_found") == 1
    assert changed(before, after, "pllm_attempts_total") == 5
    assert changed(before, after, "pllm_tokens_total", deployment="primary", direction="output") == 16
    assert changed(before, after, "pllm_answer_duration_seconds_count", deployment="primary") == 2
    assert changed(before, after, "pllm_first_byte_seconds_count", deployment="primary") == 1
    assert changed(before, after, "pllm_overhead_seconds_count") == 3
    assert changed(before, after, "pllm_decision_seconds_count") == 3


def test_words_of_providers_and_clients_are_no_labels(replica: ReplicaProcess, raw_provider: RawProvider) -> None:
    before = scraped(replica)
    for number in range(20):
        raw_provider.answer = plain(b'{"error": {"message": "no", "code": "code-%d"}}' % number, "400 Bad Request")
        replica.chat("raw")
        replica.chat(f"unknown-{number}")
    after = scraped(replica)

    new = {key for key in after if key not in before}
    assert len(new) <= 2
    assert not any("code-" in str(key) or "unknown-" in str(key) for key in after)


def test_state_of_the_cluster_is_told(cluster: Cluster, replica: ReplicaProcess) -> None:
    replica.force("primary", "open")
    samples = scraped(replica)

    assert samples["pllm_deployment_state", frozenset({("deployment", "primary"), ("state", "forced_open")})] == 1
    assert samples["pllm_deployment_state", frozenset({("deployment", "primary"), ("state", "closed")})] == 0
    assert samples["pllm_deployment_limit", frozenset({("deployment", "spare")})] == 200
    assert samples["pllm_replicas_alive", frozenset()] == 2
