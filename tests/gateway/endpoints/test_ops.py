"""Liveness, readiness and metrics. What draining does to them is in tests/gateway/test_server.py."""

from tests.support.cluster import ReplicaProcess


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
