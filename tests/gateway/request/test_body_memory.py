"""Memory for request bodies: bounded for a replica and for each tenant of several."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.configuration.server import ServerSettings
from gateway.configuration.settings import ConfigurationError, parse
from gateway.errors import ReplicaFault
from gateway.request.body_memory import PROCESSES, BodyMemory, HeldBody, default_most, most_of
from loadtest.bench.rig import rss_mib
from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import CHAT, ProviderProcess, chat_body, wait_until
from tests.support.cluster import Cluster, deployment, running_cluster
from tests.support.wire import Call, request_bytes

MIB = 1 << 20


class TestBounds:
    def test_of_all_bodies(self) -> None:
        memory = BodyMemory(100, lambda: False)
        memory.take("a", 60)
        memory.take("a", 40)
        with pytest.raises(ReplicaFault) as refused:
            memory.take("b", 1)

        assert (refused.value.code, refused.value.retry_after_ms) == ("replica_exhausted", 1000)
        memory.release("a", 40)
        memory.take("b", 40)
        assert memory.size == 100

    def test_of_one_tenant_of_several(self) -> None:
        memory = BodyMemory(100, lambda: True)
        memory.take("a", 50)
        with pytest.raises(ReplicaFault, match="tenant's share"):
            memory.take("a", 1)
        memory.take("b", 50)

    def test_body_releases_the_bytes_that_it_held(self) -> None:
        memory = BodyMemory(100, lambda: False)
        body, other = HeldBody(memory), HeldBody(memory)
        other.add("b", 10)
        for size in (30, 40):
            body.add("a", size)
        with pytest.raises(ReplicaFault):
            body.add("a", 30)
        body.release()
        body.release()

        assert memory.size == 10
        other.release()
        assert memory.size == 0


class TestDefault:
    @pytest.mark.parametrize(
        ("limits", "processes", "most"),
        [
            (("536870912",), 1, 128 * MIB),
            (("536870912",), 4, 32 * MIB),
            (("max", "268435456"), 1, 64 * MIB),
            (("max", "9223372036854771712"), 1, 2048 * MIB),
            (("17179869184",), 1, 2048 * MIB),
            ((), 1, 2048 * MIB),
        ],
        ids=["cgroup 2", "four processes", "cgroup 1", "no limit", "more than there is", "no cgroup"],
    )
    def test_default_is_a_quarter_of_the_memory(
        self, tmp_path: Path, limits: tuple[str, ...], processes: int, most: int
    ) -> None:
        (tmp_path / "meminfo").write_text("MemTotal:        8388608 kB\nMemFree:  1 kB\n")
        for number, text in enumerate(limits):
            (tmp_path / f"{number}").write_text(f"{text}\n")
        paths = tuple(str(tmp_path / f"{number}") for number in range(3))

        assert default_most(processes, paths, str(tmp_path / "meminfo")) == most

    def test_takes_the_largest_body_at_least(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(PROCESSES, "1000000")
        assert most_of(ServerSettings()) == ServerSettings().max_body_bytes
        assert most_of(ServerSettings(max_body_memory_bytes=MIB)) == MIB

    def test_may_not_be_less_than_one_body(self) -> None:
        text = "server: {max_body: 2MiB, max_body_memory: 1MiB}\nmodel_list: [{id: a, model_name: m}]\n"
        with pytest.raises(ConfigurationError, match=r"server\.max_body_memory: less than server\.max_body"):
            parse(text, {})


@pytest.fixture(scope="module")
def narrow(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    keys = [{"name": name, "key": f"sk-{name}-4f9d1c7ae2b05863"} for name in ("a", "b")]
    with running_cluster(
        store,
        provider_processes,
        [deployment("primary", provider_processes[0], "gpt-4")],
        domain="narrow",
        replicas=1,
        server={"max_body": "1MiB", "max_body_memory": "4MiB"},
        auth={"keys": keys, "admin_key": "sk-admin-4f9d1c7ae2b05863"},
    ) as running:
        yield running


def test_bodies_without_their_last_byte_leave_room_for_others(narrow: Cluster) -> None:
    """Those of one tenant take half of the memory; the other tenant is served all the while."""
    replica = narrow.replicas[0]
    body = json.dumps(chat_body(pad="x" * 900_000)).encode()
    keys = {name: {"authorization": f"Bearer sk-{name}-4f9d1c7ae2b05863"} for name in ("a", "b")}
    request = {name: request_bytes("POST", CHAT, body, keys[name]) for name in keys}
    with contextlib.ExitStack() as held:
        calls = [held.enter_context(Call(replica.address)) for _ in range(6)]
        for call in calls:
            call.try_send(request["a"][:-1])
        wait_until(lambda: "replica_exhausted" in replica.said())
        with Call(replica.address, request["b"]) as other:
            assert other.answer().status == 200
        for call in calls:
            call.try_send(request["a"][-1:])
        answers = [call.answer() for call in calls]

    # The order in which their bytes come decides which of them find no room.
    refused = [answer for answer in answers if answer.status != 200]
    assert 1 <= len(refused) < len(answers)
    assert {(each.status, each.error["code"]) for each in refused} == {(503, "replica_exhausted")}
    assert {each.headers["retry-after"] for each in refused} == {"1"}
    wait_until(lambda: replica.chat(headers=keys["a"], pad="x" * 900_000).status == 200)
    line = next(line for line in replica.said().splitlines() if "replica_exhausted" in line)
    assert json.loads(line)["tenant"] == "a"
    assert narrow.deployment("primary")["state"] == "closed"


def test_thousand_large_uploads_stay_within_the_memory_for_bodies(
    store: EmbeddedStore, provider_processes: list[ProviderProcess]
) -> None:
    """Each announces 32 MiB, the default bound of one, and sends the first 256 KiB: four times the bound of all."""
    head = request_bytes("POST", CHAT, headers={"content-length": str(32 * MIB)})
    models = [deployment("primary", provider_processes[0], "gpt-4")]
    server = {"max_body_memory": "64MiB"}
    with (
        running_cluster(store, provider_processes, models, domain="uploads", replicas=1, server=server) as cluster,
        contextlib.ExitStack() as held,
    ):
        replica = cluster.replicas[0]
        assert replica.chat().status == 200
        before = rss_mib(replica.process.pid)
        for _ in range(1_000):
            held.enter_context(Call(replica.address)).try_send(head + bytes(MIB // 4))
        wait_until(lambda: replica.said().count("replica_exhausted") >= 700)

        assert rss_mib(replica.process.pid) - before < 64 + 96  # connections and buffers of sockets take some as well
        assert replica.get("/livez").status == 200
    assert '"status":503' in replica.said().replace(" ", "")


def test_refused_request_leaves_nothing_in_memory(
    store: EmbeddedStore, provider_processes: list[ProviderProcess]
) -> None:
    """An error holds the frames that it came through, and those the body, until the collector looks at old objects."""
    models = [deployment("claude", provider_processes[0], "claude", provider_fields={"type": "anthropic"})]
    body = json.dumps(chat_body(model="claude", n=2, pad="x" * 5_000_000)).encode()
    with running_cluster(store, provider_processes, models, domain="refusing", replicas=1) as cluster:
        replica = cluster.replicas[0]
        assert replica.request("POST", CHAT, body).status == 400
        before = rss_mib(replica.process.pid)
        assert {replica.request("POST", CHAT, body).status for _ in range(30)} == {400}

        assert rss_mib(replica.process.pid) - before < 60
