"""A new configuration while running: all replicas take it or none, and no request is lost. Each replica has a file of
its own, as on machines of their own.
"""

import contextlib
import copy
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtest.bench.rig import cpu_s
from shared_state.embedded import EmbeddedStore, die_with_parent
from tests.cluster.conftest import heal
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster
from tests.support.open_loop import Arrived, Load, arrive
from tests.support.wire import Answer, Call, request_bytes

REPLICAS = 3
RELOAD = "/v1/admin/reload"
KEY = "sk-literal-in-the-file"
ADMIN = {"authorization": "Bearer sk-admin-of-the-file"}
TEAM = {"authorization": f"Bearer {KEY}"}
AGREED_S = 1.0  # after it was asked for
PATIENT_S = 5.0  # the same on a busy test machine
RATE, CHANGES, EVERY_S = 1000, 100, 1.0  # requests a second; a change each time
FIGURES = os.environ.get("PLLM_FIGURES", "")

Document = dict[str, Any]


class Reloadable:
    """``document``: the configuration as it was at the start."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.replicas = cluster.replicas
        self.folder = folder
        self.document: Document = yaml.safe_load(self.file(cluster.replicas[0]).read_text())

    def file(self, replica: ReplicaProcess) -> Path:
        return replica.config

    def write(self, document: Document, *replicas: ReplicaProcess) -> None:
        for replica in replicas or self.replicas:
            self.file(replica).write_text(yaml.safe_dump(document))

    def changed(self, **sections: Any) -> Document:
        return copy.deepcopy(self.document) | sections

    def reload(self, replica: int = 0) -> Answer:
        return self.replicas[replica].request("POST", RELOAD, headers=ADMIN)

    def applied(self, replica: int = 0) -> Any:
        """A reload that succeeds."""
        answer = self.reload(replica)
        assert answer.status == 200, answer.body.decode() + self.replicas[replica].said()[-2000:]
        assert answer.json()["result"] == "applied"
        return answer.json()

    def aliased(self, name: str, **sections: Any) -> Document:
        """A configuration that tells itself apart by a name that can be asked for."""
        router = {**self.document["router"], "aliases": {name: "main"}}
        return self.changed(router=router, **sections)

    def aliases(self) -> list[set[str]]:
        """Of each replica, as its clients see them."""
        models = [replica.get("/v1/models", TEAM).json()["data"] for replica in self.replicas]
        return [{each["id"] for each in listed if each["id"].startswith("edition-")} for listed in models]

    def in_force(self, replica: int = 0) -> Any:
        return self.replicas[replica].get(RELOAD, ADMIN).json()

    def stands(self) -> set[tuple[int, str]]:
        """Version and digest, as each replica has told the others."""
        return {(each["version"], each["digest"]) for each in self.in_force()["replicas"].values()}

    def wait_for(self, alias: str) -> None:
        wait_until(lambda: self.aliases() == [{alias}] * len(self.replicas), lambda: str(self.aliases()))


@pytest.fixture(scope="module")
def reloadable_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Reloadable]:
    first, second, _ = provider_processes
    with running_cluster(
        store,
        provider_processes,
        [deployment("main-a", first, "main"), deployment("main-b", second, "main")],
        domain="reloadable",
        replicas=REPLICAS,
        own_files=True,
        auth={"admin_key": "sk-admin-of-the-file", "keys": [{"name": "team", "key": KEY}]},
        router={"latency_threshold": "8s", "load_shedding": {"max_active_requests": 100_000}},
    ) as running:
        yield Reloadable(running, store.folder)


@pytest.fixture
def reloadable(reloadable_cluster: Reloadable) -> Iterator[Reloadable]:
    heal(reloadable_cluster.cluster.providers)
    reloadable_cluster.write(reloadable_cluster.aliased("edition-0"))
    reloadable_cluster.reload()
    reloadable_cluster.wait_for("edition-0")
    yield reloadable_cluster
    reloadable_cluster.cluster.check()


def editions(reloadable: Reloadable) -> Iterator[Document]:
    """Each different from the one before in what it is made of, not only in its name."""
    first, second, third = reloadable.cluster.providers
    strategies = ("adaptive", "round-robin", "least-busy", "latency-based", "weighted")
    for number in range(1, 1_000):
        room = 2000 + number  # a machine that is busy for a second must not fill the queue
        models = [deployment(f"main-{number}", (first, second, third)[number % 3], "main", max_parallel=room)]
        if number % 2:
            models.append(deployment("main-b", second, "main", weight=number % 7 + 1, max_parallel=room))
        edition = reloadable.aliased(f"edition-{number}", model_list=models)
        edition["router"]["routing_strategy"] = strategies[number % len(strategies)]
        edition["auth"]["keys"].append({"name": f"guest-{number}", "key": f"sk-guest-of-edition-{number}"})
        yield edition


def change(reloadable: Reloadable, document: Document, number: int) -> float:
    """Asked of each replica in turn, by signal or by call; the seconds until all have it."""
    [alias] = document["router"]["aliases"]
    reloadable.write(document)
    asked_s = time.monotonic()
    if number % 4 == 3:
        reloadable.replicas[number % REPLICAS].signal(signal.SIGHUP)
    else:
        assert reloadable.applied(number % REPLICAS)["behind"] == []
    reloadable.wait_for(alias)
    wait_until(lambda: len(reloadable.stands()) == 1, lambda: str(reloadable.stands()))
    return time.monotonic() - asked_s


def changed_under_load(reloadable: Reloadable, rate: float, changes: int, every_s: float) -> list[float]:
    """Seconds that each change took. Every request must be answered."""
    arrived: list[Arrived] = []
    urls = [replica.url for replica in reloadable.replicas]
    load = threading.Thread(
        target=lambda: arrived.extend(arrive(urls, "main", [Load("team", rate, TEAM)], changes * every_s))
    )
    load.start()
    began_s, took = time.monotonic(), []
    for number, edition in zip(range(1, changes + 1), editions(reloadable), strict=False):
        took.append(change(reloadable, edition, number))
        rest_s = began_s + number * every_s - time.monotonic()
        load.join(max(0.0, rest_s))  # the next change has its time
    load.join()

    assert Counter(each.status for each in arrived) == {200: int(rate * changes * every_s)}
    return took


def last_of(call: Call) -> Answer:
    with call:
        return call.answer()


def test_no_request_is_lost_while_the_configuration_changes(reloadable: Reloadable) -> None:
    took = changed_under_load(reloadable, rate=100, changes=8, every_s=0.6)

    assert max(took) < PATIENT_S


def test_refused_file_changes_nothing_anywhere(reloadable: Reloadable) -> None:
    before = reloadable.in_force()
    reloadable.write(reloadable.aliased("edition-1", model_list=[{"id": "x", "model_name": "main", "weight": -1}]))
    answer = reloadable.reload(1)

    assert (answer.status, answer.json()["error"]["code"]) == (409, "configuration_refused")
    assert [each["path"] for each in answer.json()["error"]["details"]] == ["model_list[0].weight"]
    assert answer.json()["error"]["details"][0]["replica"].startswith("r1-")
    assert reloadable.in_force() == before
    assert reloadable.aliases() == [{"edition-0"}] * 3


def test_file_that_is_good_at_one_replica_only_is_refused_by_all(reloadable: Reloadable) -> None:
    before = reloadable.in_force()
    bad = reloadable.aliased("edition-1") | {"surprise": 1}
    reloadable.write(reloadable.aliased("edition-1"), *reloadable.replicas[:2])
    reloadable.write(bad, reloadable.replicas[2])
    answer = reloadable.reload(0)
    details = answer.json()["error"]["details"]

    assert answer.status == 409
    assert [(each["replica"][:3], each["path"]) for each in details if each["path"]] == [("r2-", "surprise")]
    assert reloadable.in_force() == before
    assert reloadable.aliases() == [{"edition-0"}] * 3


def test_other_file_at_one_replica_is_refused_by_all(reloadable: Reloadable) -> None:
    reloadable.write(reloadable.aliased("edition-1"), *reloadable.replicas[:2])
    answer = reloadable.reload(0)
    [detail] = [each for each in answer.json()["error"]["details"] if "differs" in each["message"]]

    assert (answer.status, detail["replica"][:3], detail["path"]) == (409, "r2-", "")
    assert reloadable.aliases() == [{"edition-0"}] * 3


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("server", "host", "127.0.0.2"),
        ("server", "metrics_port", 1),
        ("state", "domain", "other"),
        ("state", "deadline", "7s"),
    ],
)
def test_setting_that_needs_a_restart_is_refused(reloadable: Reloadable, section: str, field: str, value: Any) -> None:
    document = reloadable.aliased("edition-1")
    document[section] = {**document.get(section, {}), field: value}
    reloadable.write(document)
    answer = reloadable.reload()

    assert answer.status == 409
    assert [each["path"] for each in answer.json()["error"]["details"]] == [f"{section}.{field}"]
    assert reloadable.aliases() == [{"edition-0"}] * 3


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b"", "model_list"),
        (b"\xff\xfe\x00", "FILE"),
        (b"#" * (5 << 20), "FILE"),
        (b"\tmodel_list: []", "line 1, column 1"),
        (b"model_list: &a [*a]", "model_list[0]"),
        (
            b"model_list: [{id: a, model_name: m, cost: {input_per_million: -1}}]",
            "model_list[0].cost.input_per_million",
        ),
        (b"model_list: [{id: a, model_name: m, cost: {currency: EUR}}]", "model_list[0].cost.currency"),
        (
            b"model_list: [{id: a, model_name: m, provider: {api_key: '${UNSET_HERE}'}}]",
            "model_list[0].provider.api_key",
        ),
        (b"model_list: [{id: a, model_name: m, domain: '{x}'}]", "model_list[0].domain"),
    ],
    ids=["empty", "binary", "long", "tab", "circle", "price", "currency", "variable", "domain"],
)
def test_bad_file_is_refused_with_its_path(reloadable: Reloadable, text: bytes, path: str) -> None:
    before = reloadable.in_force()
    for replica in reloadable.replicas:
        replica.config.write_bytes(text)
    answer = reloadable.reload(2)
    told = [each["path"] for each in answer.json()["error"]["details"]]

    assert answer.status == 409
    assert path.replace("FILE", str(reloadable.file(reloadable.replicas[2]))) in told
    assert reloadable.in_force() == before
    assert reloadable.aliases() == [{"edition-0"}] * 3


def test_replica_that_dies_while_it_proposes_leaves_all_others_alike(reloadable: Reloadable) -> None:
    dying, *others = reloadable.replicas
    redis, key = reloadable.cluster.redis, reloadable.cluster.key("reload")
    before = redis.hget(key, "proposed_version")
    reloadable.write(reloadable.aliased("edition-1"))
    with Call(dying.address, request_bytes("POST", RELOAD, headers=ADMIN)):
        wait_until(lambda: redis.hget(key, "proposed_version") != before)
        dying.kill()
    again = reloadable.cluster.restart(dying)
    seen = {tuple(sorted(each["id"] for each in other.get("/v1/models", TEAM).json()["data"])) for other in others}
    reloadable.write(reloadable.aliased("edition-2"))
    wait_until(lambda: reloadable.reload(1).status == 200)
    reloadable.wait_for("edition-2")

    assert len(seen) == 1
    assert again.process.poll() is None


def test_requests_end_on_a_deployment_that_is_gone(reloadable: Reloadable) -> None:
    first, second, _ = reloadable.cluster.providers
    reloadable.write(reloadable.aliased("edition-1", model_list=[deployment("going", first, "main")]))
    reloadable.applied()
    first.behave(latency_ms=1500)
    calls = [replica.begin_chat("main", headers=TEAM, stream=bool(n)) for n, replica in enumerate(reloadable.replicas)]
    first.wait_for(in_flight=3)
    reloadable.write(reloadable.aliased("edition-2", model_list=[deployment("coming", second, "main")]))
    done = reloadable.applied()
    served = [replica.chat("main", headers=TEAM).headers["x-pllm-deployment"] for replica in reloadable.replicas]
    answers = [last_of(call) for call in calls]

    assert {"model_list.going: removed", "model_list.coming: added"} <= set(done["changed"])
    assert served == ["coming"] * 3
    assert [(each.status, each.headers["x-pllm-deployment"]) for each in answers] == [(200, "going")] * 3
    reloadable.cluster.wait_until_idle()


def test_deployment_of_another_model_is_named_with_that_model(reloadable: Reloadable) -> None:
    replica = reloadable.replicas[0]
    answers = [replica.chat("main", headers=TEAM) for _ in range(8)]  # all deployments answer
    assert {answer.headers["x-pllm-model"] for answer in answers} == {"main"}
    models = [{**each, "model_name": "renamed"} for each in reloadable.document["model_list"]]
    reloadable.write(reloadable.changed(model_list=models))
    reloadable.applied()
    answer = replica.chat("renamed", headers=TEAM)

    assert (answer.status, answer.headers["x-pllm-model"]) == (200, "renamed")


def test_requests_that_wait_take_what_is_new(reloadable: Reloadable) -> None:
    first, second, _ = reloadable.cluster.providers
    full = deployment("full", first, "main", max_parallel=1, concurrency="fixed")
    reloadable.write(reloadable.aliased("edition-1", model_list=[full]))
    reloadable.applied()
    first.behave(latency_ms=4000)
    replica = reloadable.replicas[0]
    holding = replica.begin_chat("main", headers=TEAM)
    first.wait_for(in_flight=1)
    waiting = replica.begin_chat("main", headers=TEAM)
    wait_until(lambda: replica.get("/v1/admin/models/stats", ADMIN).json()["waiting"] == {"main": 1})
    reloadable.write(reloadable.aliased("edition-2", model_list=[full, deployment("more", second, "main")]))
    reloadable.applied(1)

    served = last_of(waiting)
    assert served.headers.get("x-pllm-deployment") == "more", served
    assert first.counts()["in_flight"] == 1
    assert last_of(holding).headers["x-pllm-deployment"] == "full"


def test_keys_of_the_file_come_and_go(reloadable: Reloadable) -> None:
    keys = [{"name": "team", "key": KEY}, {"name": "guest", "key": "sk-guest-key-1"}]
    auth = {**reloadable.document["auth"], "keys": keys}
    reloadable.write(reloadable.aliased("edition-1", auth=auth))
    done = reloadable.reload()
    guest = {"authorization": "Bearer sk-guest-key-1"}
    with_key = [replica.chat("main", headers=guest).status for replica in reloadable.replicas]
    reloadable.write(reloadable.aliased("edition-2"))
    reloadable.reload()
    without = [replica.chat("main", headers=guest).status for replica in reloadable.replicas]

    assert "auth.keys.guest: added" in done.json()["changed"]
    assert (with_key, without) == ([200] * 3, [401] * 3)
    assert b"sk-guest" not in done.body


def test_admin_key_that_a_tenant_in_the_store_has_is_refused(reloadable: Reloadable) -> None:
    key, path = "sk-4f9d1c7a-of-the-store", "/v1/admin/tenants/stored"
    bearer = {"authorization": f"Bearer {key}"}
    auth = {**reloadable.document["auth"], "admin_keys": [{"name": "ann", "key": key, "role": "viewer"}]}
    reloadable.write(reloadable.aliased("edition-1", auth=auth))
    made = reloadable.replicas[0].request("PUT", path, json.dumps({"key": key}).encode(), ADMIN)
    refused = reloadable.reload()
    removed = reloadable.replicas[0].request("DELETE", path, headers=ADMIN)
    for replica in reloadable.replicas:  # each learns of it from the store
        wait_until(lambda get=replica.get: get("/v1/models", bearer).status == 401)  # type: ignore[misc]
    reloadable.applied()

    assert (made.status, refused.status, removed.status) == (201, 409, 200)
    assert [each["path"] for each in refused.json()["error"]["details"]] == ["auth.admin_keys[0].key"]
    assert key.encode() not in refused.body


def test_no_secret_goes_through_the_store(reloadable: Reloadable) -> None:
    reloadable.write(reloadable.aliased("edition-1"))
    reloadable.reload()
    held = reloadable.cluster.redis
    kept = [held.hgetall(key) for key in held.scan_iter(reloadable.cluster.key("*"), _type="hash")]
    kept += [held.xrange(reloadable.cluster.key("events")), held.get(reloadable.cluster.key("policy"))]

    assert "edition" not in str(kept)
    assert KEY not in str(kept)
    assert "provider-secret" not in str(kept)
    assert reloadable.in_force()["digest"] in str(kept)


def test_same_file_again_changes_nothing(reloadable: Reloadable) -> None:
    before = reloadable.in_force()
    again = reloadable.reload(2)

    assert (again.status, again.json()["result"], again.json()["changed"]) == (200, "unchanged", [])
    assert reloadable.in_force() == before


def test_replica_that_was_away_takes_it_on_return(reloadable: Reloadable) -> None:
    away = reloadable.replicas[2]
    away.signal(signal.SIGSTOP)
    try:
        reloadable.write(reloadable.aliased("edition-1"))
        done = reloadable.applied()
        seen = [
            {m["id"] for m in replica.get("/v1/models", TEAM).json()["data"]} for replica in reloadable.replicas[:2]
        ]
    finally:
        away.signal(signal.SIGCONT)

    assert [name for name in done["replicas"] if name.startswith("r2-")] == []
    assert seen == [{"main", "edition-1"}] * 2
    reloadable.wait_for("edition-1")


def test_replica_that_starts_with_another_file_is_reported(reloadable: Reloadable) -> None:
    replica = reloadable.replicas[2]
    reloadable.write(reloadable.aliased("edition-7"), replica)
    replica.stop()
    again = reloadable.cluster.restart(replica)
    wait_until(lambda: [name[:3] for name in reloadable.in_force()["behind"]] == ["r2-"])

    assert "the other replicas run configuration" in again.said()
    reloadable.write(reloadable.aliased("edition-8"))
    assert reloadable.reload().json()["behind"] == []
    reloadable.wait_for("edition-8")


def test_how_reloads_ended_is_counted_and_shown(reloadable: Reloadable) -> None:
    reloadable.write(reloadable.aliased("edition-1"))
    version = reloadable.applied(1)["version"]
    scraped = reloadable.replicas[0].get("/metrics", ADMIN).body.decode()
    events = reloadable.replicas[0].get("/v1/admin/events?limit=100", ADMIN).json()["events"]
    told = [each for each in events if each["subject"] == "configuration"]

    assert [float(value) for value in re.findall("(?m)^pllm_configuration_version (.+)$", scraped)] == [version]
    assert 'pllm_configuration_reloads_total{result="applied"}' in scraped
    assert (told[0]["to"], told[0]["reason"][:15]) == (str(version), "reloaded by r1-")


@contextlib.contextmanager
def loaded(reloadable: Reloadable, report: Path) -> Iterator[Callable[[float], None]]:
    """`RATE` requests a second, to all replicas in turn, until the block is left. What is given waits until a time of
    the monotonic clock, and asserts that the load lasts.
    """
    urls = ",".join(replica.url for replica in reloadable.replicas)
    command = [sys.executable, "-m", "loadtest", "-url", urls, "-model", "main", "-key", KEY]
    command += ["-rps", str(RATE), "-duration", "10m", "-json", str(report)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)

    def goes_on_until(at_s: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"no load: {process.wait(max(0.0, at_s - time.monotonic()))}")

    try:
        wait_until(lambda: sum(provider.counts()["requests"] for provider in reloadable.cluster.providers) > RATE)
        yield goes_on_until
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        assert report.exists(), said
    finally:
        process.kill()
        process.communicate()


class Spent:
    """CPU time of the replicas and of their store, in ms a second."""

    def __init__(self, reloadable: Reloadable) -> None:
        self._pids = [replica.process.pid for replica in reloadable.replicas]
        self._store = int(reloadable.cluster.redis.info("server")["process_id"])
        self._before = self._now()

    def _now(self) -> tuple[float, float, float]:
        return time.monotonic(), sum(map(cpu_s, self._pids)), cpu_s(self._store)

    def since(self) -> tuple[float, float]:
        """Since it was asked last, of a replica on average and of the store."""
        before, self._before = self._before, self._now()
        took_s, replicas, store = (now - then for now, then in zip(self._before, before, strict=True))
        return 1000 * replicas / len(self._pids) / took_s, 1000 * store / took_s


@pytest.mark.long
def test_hundred_changes_under_a_thousand_requests_a_second(reloadable: Reloadable, tmp_path: Path) -> None:
    report, took = tmp_path / "report.json", []
    with loaded(reloadable, report) as goes_on_until:
        spent = Spent(reloadable)
        goes_on_until(time.monotonic() + CHANGES * EVERY_S / 10)  # without a change, for comparison
        still = spent.since()
        began_s = time.monotonic()
        for number, edition in zip(range(1, CHANGES + 1), editions(reloadable), strict=False):
            took.append(change(reloadable, edition, number))
            goes_on_until(began_s + number * EVERY_S)
        changing = spent.since()
    told = json.loads(report.read_text())
    figures = {
        "reloads": len(took),
        "per_s": told["ok_per_s"],
        "ok": told["ok"],
        "median_s": statistics.median(took),
        "worst_s": max(took),
        "replica_us_per_request": 3000 * still[0] / RATE,
        "store_us_per_request": 1000 * still[1] / RATE,
        "replica_ms_per_reload": (changing[0] - still[0]) * EVERY_S,
        "store_ms_per_reload": (changing[1] - still[1]) * EVERY_S,
    }
    if FIGURES:
        with Path(FIGURES).open("a") as file:
            file.write(json.dumps(figures) + "\n")

    assert (told["failed"], told["ok"]) == (0, told["requests"]), told["failures"]
    assert told["ok_per_s"] > 0.98 * RATE, figures
    assert max(took) < AGREED_S, sorted(took)[-5:]
