"""GET /v1/admin/usage and `pllm usage`: what tenants used, as the budgets are charged, in both forms."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, in_turn, running_cluster
from tests.support.raw_provider import RawProvider, body_of, plain

PRICE = {"input_per_million": 1, "output_per_million": 100}
ADMIN = {"authorization": "Bearer key-of-the-admin"}
COUNTED = plain(
    body_of(
        choices=[{"index": 0, "message": {"role": "assistant", "content": "raw"}}],
        usage={
            "prompt_tokens": 1000,
            "completion_tokens": 10,
            "total_tokens": 1010,
            "prompt_tokens_details": {"cached_tokens": 800},
        },
    )
)
COST = 200 + 800 // 2 + 10 * 100  # micro-units
REFUSED = plain(body_of(error={"message": "no", "type": "invalid_request_error"}), "400 Bad Request")


@pytest.fixture(scope="module")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "requests.jsonl"


@pytest.fixture(scope="module")
def used_cluster(store: EmbeddedStore, raw_provider_thread: RawProvider, log_file: Path) -> Iterator[Cluster]:
    models = [deployment(name, raw_provider_thread.url, f"model-{name}", cost=PRICE) for name in ("a", "b")]
    auth = {
        "admin_key": "key-of-the-admin",
        "keys": [{"name": name, "key": f"key-{name}"} for name in ("team-1", "team-2", "team-3")],
    }
    router: dict[str, Any] = {"latency_threshold": "8s", "budget": {"amount": 1000, "per": "total"}}
    with running_cluster(
        store,
        [],
        models,
        domain="used",
        auth=auth,
        router=router,
        metrics={"max_tenants": 2},
        server={"access_log_file": str(log_file)},
    ) as running:
        yield running


@pytest.fixture
def used(used_cluster: Cluster, raw_provider_thread: RawProvider, log_file: Path) -> Cluster:
    """After a few requests: two of team-1 for a, one of team-2 for b, one of team-3 that its provider refuses."""
    raw_provider_thread.forget()
    for key in used_cluster.redis.keys(used_cluster.key("usage:*")):
        used_cluster.redis.delete(key)
    used_cluster.redis.delete(used_cluster.key("budget:domain"))
    log_file.write_bytes(b"")
    for answer, replica, team, model in (
        (COUNTED, 0, "team-1", "model-a"),
        (COUNTED, 1, "team-1", "model-a"),
        (COUNTED, 0, "team-2", "model-b"),
        (REFUSED, 1, "team-3", "model-b"),
    ):
        raw_provider_thread.answer = answer
        used_cluster.replicas[replica].chat(model, headers=bearer(team))
    wait_until(lambda: report(used_cluster.replicas[0])["total"]["requests"] == 4)
    return used_cluster


def bearer(team: str) -> dict[str, str]:
    return {"authorization": f"Bearer key-{team}"}


def report(replica: ReplicaProcess, query: str = "") -> dict[str, Any]:
    answer = replica.get(f"/v1/admin/usage{query}", ADMIN)
    assert answer.status == 200, answer.text
    found: dict[str, Any] = json.loads(answer.text)
    return found


def row(requests: int, errors: int, answered: int) -> dict[str, Any]:
    tokens = {"input_tokens": 1000, "output_tokens": 10, "cached_tokens": 800, "cache_write_tokens": 0}
    counts = {name: answered * count for name, count in tokens.items()}
    return {"requests": requests, "errors": errors, **counts, "cost": answered * COST / 1e6}


def test_usage_is_that_of_all_replicas_by_tenant_and_model(used: Cluster) -> None:
    today = str(datetime.now(UTC).date())
    reports = [report(replica, f"?from={today}&to={today}") for replica in used.replicas]

    assert reports[0] == reports[1]
    assert reports[0] == {
        "from": today,
        "to": today,
        "by": ["tenant", "model"],
        "usage": [
            {"tenant": "team-1", "model": "model-a", **row(2, 0, 2)},
            {"tenant": "team-2", "model": "model-b", **row(1, 0, 1)},
            {"tenant": "team-3", "model": "model-b", **row(1, 1, 0)},
        ],
        "total": row(4, 1, 3),
    }


def test_budget_usage_metric_and_log_have_one_cost(used: Cluster, log_file: Path) -> None:
    used.wait_until_idle()
    spent = int(used.redis.hget(used.key("budget:domain"), "spent"))
    wait_until(lambda: log_file.read_text().count('"tenant":"team-') >= 4)
    lines = [json.loads(line) for line in log_file.read_text().splitlines()]
    logged = [line for line in lines if line.get("tenant")]

    assert spent == 3 * COST
    assert report(used.replicas[0])["total"]["cost"] == spent / 1e6
    assert sum(line.get("cost", 0) for line in logged) == pytest.approx(spent / 1e6)
    assert [(each["input_tokens"], each["cached_tokens"]) for each in logged if "cost" in each] == [(1000, 800)] * 3


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ("tenant", [["team-1"], ["team-2"], ["team-3"]]),
        ("model", [["model-a"], ["model-b"]]),
        ("", [[]]),
        ("model,tenant", [["model-a", "team-1"], ["model-b", "team-2"], ["model-b", "team-3"]]),
    ],
)
def test_usage_is_added_up_by_what_is_named(used: Cluster, by: str, rows: list[list[str]]) -> None:
    found = report(used.replicas[0], f"?by={by}")
    names = by.split(",") if by else []

    assert [[each[name] for name in names] for each in found["usage"]] == rows
    assert sum(each["requests"] for each in found["usage"]) == 4


def test_csv_has_a_line_for_each_row(used: Cluster) -> None:
    by_format = used.replicas[0].get("/v1/admin/usage?format=csv&by=day,tenant", ADMIN)
    by_header = used.replicas[0].get("/v1/admin/usage?by=day,tenant", {**ADMIN, "accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(by_format.text)))

    assert by_format.text == by_header.text
    assert [each["tenant"] for each in rows] == ["team-1", "team-2", "team-3"]
    assert rows[0]["cost"] == f"{2 * COST / 1e6:.6f}"
    assert list(rows[0])[:4] == ["day", "tenant", "requests", "errors"]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=yesterday", "from"),
        ("to=2026-13-01", "to"),
        ("to=0001-01-01", ""),
        ("to=" + "9" * 5000, "to"),
        ("from=2026-02-02&to=2026-02-01", "from"),
        ("from=2020-01-01&to=2026-02-01", "from"),
        ("by=tenant,tenant", "by"),
        ("by=password", "by"),
        ("by=" + "tenant," * 1000, "by"),
        ("format=xml", "format"),
    ],
)
def test_bad_parameter_is_named(used_cluster: Cluster, query: str, param: str) -> None:
    answer = used_cluster.replicas[0].get(f"/v1/admin/usage?{query}", ADMIN)

    assert answer.status == (400 if param else 200)
    assert not param or answer.error["param"] == param


def test_tenant_sees_no_usage(used_cluster: Cluster) -> None:
    assert used_cluster.replicas[0].get("/v1/admin/usage", bearer("team-1")).status == 403
    assert used_cluster.replicas[0].get("/v1/admin/usage").status == 401


def test_metrics_name_as_many_tenants_as_they_may(used: Cluster) -> None:
    lines = [line for each in used.replicas for line in each.get("/metrics", ADMIN).text.splitlines()]
    parts = [(line.partition("{")[0], line.partition('tenant="')[2].partition('"')[0]) for line in lines]
    named = {name: {tenant for metric, tenant in parts if metric == name} for name in NAMES}

    assert named["pllm_requests_total"] == {"team-1", "team-2", "other"}
    assert named["pllm_tokens_total"] == named["pllm_cost_total"] == {"team-1", "team-2"}


NAMES = ("pllm_requests_total", "pllm_tokens_total", "pllm_cost_total")


@pytest.mark.parametrize(("flag", "first"), [("", "TENANT"), ("--csv", "tenant,model"), ("--json", '{"from":')])
def test_command_prints_the_usage(used: Cluster, flag: str, first: str) -> None:
    command = [sys.executable, "-m", "gateway", "usage", "--url", used.replicas[0].url, *filter(None, [flag])]
    environment = os.environ | {"PLLM_ADMIN_KEY": "key-of-the-admin"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=environment)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(first)
    assert "team-2" in done.stdout


def test_command_reports_a_refused_parameter(used_cluster: Cluster) -> None:
    command = [sys.executable, "-m", "gateway", "usage", "--url", used_cluster.replicas[0].url, "--by", "nothing"]
    environment = os.environ | {"PLLM_ADMIN_KEY": "key-of-the-admin"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=environment)

    assert (done.returncode, done.stdout) == (1, "")
    assert "by must be names of tenant, model, day" in done.stderr


def test_replica_that_ends_takes_no_counts_with_it(
    store: EmbeddedStore, provider_processes: list[ProviderProcess]
) -> None:
    auth = {"admin_key": "key-of-the-admin", "keys": [{"name": "team-1", "key": "key-team-1"}]}
    models = [deployment("a", provider_processes[0], "gpt-4", cost=PRICE)]
    with running_cluster(store, provider_processes, models, domain="ending", auth=auth) as cluster:
        for replica in in_turn(cluster.replicas, 20):
            assert replica.chat(headers=bearer("team-1")).status == 200
        assert cluster.replicas[1].stop() == 0
        wait_until(lambda: report(cluster.replicas[0])["total"]["requests"] >= 20)

        assert report(cluster.replicas[0])["total"]["requests"] == 20
