"""What a person may do who can write to the shared store: make no key, change none, and break no replica."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.__main__ import main
from gateway.request.presented_keys import digest
from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster

FIRST, SECOND = "sk-first-admin-key-0123", "sk-second-admin-key-4567"
KEY, FORGED = "sk-of-team-a-0123456789", "sk-of-the-writer-0123456789"
FIXED = "sk-of-the-configuration"
CHANNELS = ("tenants", "reload", "freed")
NONSENSE = [b"", b"\xff\xfe", b"-1", b"1e3", b"9" * 40, b"{}", "٣".encode(), b"two words", b"x" * 100_000, b"\n"]
_NUMBERS = itertools.count()


@pytest.fixture
def cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    models = [deployment("one", provider_processes[0], "one")]
    auth = {"admin_key": FIRST, "keys": [{"name": "fixed", "key": FIXED}]}
    with running_cluster(
        store,
        provider_processes[:1],
        models,
        domain=f"written-{next(_NUMBERS)}",
        auth=auth,
        server={"trusted_proxies": ["127.0.0.0/8"]},
    ) as running:
        yield running
        running.check()


def asked(replica: ReplicaProcess, key: str) -> int:
    address = f"10.3.{next(_NUMBERS) >> 8}.{next(_NUMBERS) & 255}"
    return replica.chat("one", headers={"authorization": f"Bearer {key}", "x-forwarded-for": address}).status


def put(replica: ReplicaProcess, name: str, admin: str = FIRST, **fields: Any) -> int:
    headers = {"authorization": f"Bearer {admin}"}
    return replica.request("PUT", f"/v1/admin/tenants/{name}", json.dumps(fields).encode(), headers).status


def listed(replica: ReplicaProcess, admin: str = FIRST) -> dict[str, Any]:
    answer: dict[str, Any] = replica.get("/v1/admin/tenants", {"authorization": f"Bearer {admin}"}).json()
    return answer


def wait_for(cluster: Cluster, key: str, status: int) -> None:
    wait_until(lambda: {asked(replica, key) for replica in cluster.replicas} == {status})


def write(cluster: Cluster, name: str, text: str) -> None:
    """As a person would who has only the store: the record, a new version, and the news of it."""
    cluster.redis.hset(cluster.key("tenants"), name, text)
    version = cluster.redis.hincrby(cluster.key("global"), "tenants_version", 1)
    cluster.redis.publish(cluster.key("tenants"), version)


def forged(name: str, **fields: Any) -> str:
    return json.dumps({"name": name, "key_hash": digest(FORGED.encode()).hex(), **fields}, separators=(",", ":"))


def wait_until_read(cluster: Cluster, name: str) -> None:
    wait_until(lambda: all(name in listed(replica)["unsigned"] for replica in cluster.replicas))


def test_record_that_was_written_without_the_secret_opens_nothing(cluster: Cluster) -> None:
    put(cluster.replicas[0], "team-a", key=KEY)
    wait_for(cluster, KEY, 200)
    signature = json.loads(cluster.redis.hget(cluster.key("tenants"), "team-a"))["signature"]
    write(cluster, "writer", forged("writer"))
    write(cluster, "copied", forged("copied", signature=signature))
    wait_until_read(cluster, "copied")
    cluster.replicas[1].stop()
    again = cluster.restart(cluster.replicas[1])

    assert {asked(replica, FORGED) for replica in (cluster.replicas[0], again)} == {401}
    assert {asked(replica, KEY) for replica in (cluster.replicas[0], again)} == {200}
    assert listed(again)["unsigned"] == ["copied", "writer"]
    wait_until(lambda: "the tenant 'writer' in the store is not signed" in again.said())


@pytest.mark.parametrize(
    ("old", "new"), [('"rpm":500', '"rpm":5000'), (digest(KEY.encode()).hex(), digest(FORGED.encode()).hex())]
)
def test_record_that_was_changed_opens_nothing(cluster: Cluster, old: str, new: str) -> None:
    put(cluster.replicas[0], "team-a", key=KEY, rpm=500)
    wait_for(cluster, KEY, 200)
    text = cluster.redis.hget(cluster.key("tenants"), "team-a")
    assert old in text
    write(cluster, "team-a", text.replace(old, new))
    wait_until_read(cluster, "team-a")

    assert {asked(replica, key) for replica in cluster.replicas for key in (KEY, FORGED)} == {401}


def test_change_by_an_admin_never_vouches_for_what_was_written(cluster: Cluster) -> None:
    """A put without a key keeps the tenant's own, and not one that was slipped in."""
    write(cluster, "team-a", forged("team-a"))
    wait_until_read(cluster, "team-a")
    answer = cluster.replicas[0].request(
        "PUT", "/v1/admin/tenants/team-a", b'{"rpm": 5}', {"authorization": f"Bearer {FIRST}"}
    )

    assert answer.status == 201
    wait_for(cluster, answer.json()["key"], 200)
    assert {asked(replica, FORGED) for replica in cluster.replicas} == {401}


def test_store_that_was_flushed_gets_signed_records_back(cluster: Cluster) -> None:
    put(cluster.replicas[0], "team-a", key=KEY)
    wait_for(cluster, KEY, 200)
    for key in cluster.redis.scan_iter(cluster.key("*")):
        cluster.redis.delete(key)
    wait_until(lambda: cluster.redis.hexists(cluster.key("tenants"), "team-a"))
    cluster.replicas[1].stop()

    assert asked(cluster.restart(cluster.replicas[1]), KEY) == 200


def test_signature_goes_over_to_a_new_secret_while_running(cluster: Cluster) -> None:
    put(cluster.replicas[0], "team-a", key=KEY)
    wait_for(cluster, KEY, 200)
    before = cluster.redis.hget(cluster.key("tenants"), "team-a")
    config = cluster.replicas[0].config
    document = yaml.safe_load(config.read_text())
    document["auth"]["admin_key"] = SECOND
    config.write_text(yaml.safe_dump(document))
    reload = cluster.replicas[0].request("POST", "/v1/admin/reload", b"", {"authorization": f"Bearer {FIRST}"})
    wait_until(lambda: cluster.redis.hget(cluster.key("tenants"), "team-a") != before)
    served = {asked(replica, KEY) for replica in cluster.replicas}
    cluster.replicas[1].stop()
    again = cluster.restart(cluster.replicas[1])

    assert (reload.status, served) == (200, {200})
    assert (asked(again, KEY), listed(again, SECOND)["unsigned"]) == (200, [])


def test_record_of_a_former_release_is_signed_by_hand_and_served(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"name": "team-a", "key_hash": digest(KEY.encode()).hex(), "rpm": 500}
    write(cluster, "team-a", json.dumps(record, separators=(",", ":")))
    write(cluster, "writer", forged("writer"))
    wait_until_read(cluster, "writer")
    command = ["tenants", "--config", str(cluster.replicas[0].config)]
    assert main(command) == 0
    [first, second] = capsys.readouterr().out.splitlines()
    assert main([*command, "--sign", "team-a@000000000000"]) == 1
    assert "not a readable tenant, or it has changed since it was listed" in capsys.readouterr().err
    assert asked(cluster.replicas[0], KEY) == 401
    assert main([*command, "--sign", first.split()[0]]) == 0
    after = capsys.readouterr().out.splitlines()

    assert "NOT SIGNED" in first
    assert '"rpm":500' in first
    assert "NOT SIGNED" in second
    assert ["NOT SIGNED" in line for line in after] == [False, True]
    wait_for(cluster, KEY, 200)
    assert {asked(replica, FORGED) for replica in cluster.replicas} == {401}


def ignored(replica: ReplicaProcess) -> dict[str, int]:
    text = replica.get("/metrics", {"authorization": f"Bearer {FIRST}"}).text
    found = re.findall(r'(?m)^pllm_news_ignored_total\{channel="(\w+)"\} (\S+)$', text)
    return {channel: int(float(count)) for channel, count in found}


def test_nonsense_on_every_channel_is_counted_and_harms_nothing(cluster: Cluster) -> None:
    for channel in CHANNELS:
        for message in NONSENSE:
            cluster.redis.publish(cluster.key(channel), message)
    expected = {"tenants": len(NONSENSE), "reload": len(NONSENSE) - 1, "freed": len(NONSENSE) - 3}

    for replica in cluster.replicas:
        wait_until(lambda replica=replica: ignored(replica) == expected, lambda: str(expected))  # type: ignore[misc]
        assert asked(replica, FIXED) == 200
        wait_until(lambda replica=replica: "which no replica sends" in replica.said())  # type: ignore[misc]
        assert replica.said().count("which no replica sends") == 1
    assert put(cluster.replicas[0], "team-b", key=KEY) == 201
    wait_for(cluster, KEY, 200)


def test_without_anything_to_sign_with_no_tenant_is_made_or_believed(
    store: EmbeddedStore, provider_processes: list[ProviderProcess]
) -> None:
    models = [deployment("one", provider_processes[0], "one")]
    auth = {"admin": "local", "keys": [{"name": "fixed", "key": FIXED}]}
    with running_cluster(store, provider_processes[:1], models, domain="unsigned", replicas=1, auth=auth) as running:
        answer = running.replicas[0].request("PUT", "/v1/admin/tenants/team-a", b"{}")
        write(running, "writer", forged("writer"))
        wait_until(lambda: running.replicas[0].get("/v1/admin/tenants").json()["unsigned"] == ["writer"])

        assert (answer.status, answer.error["code"]) == (409, "conflict")
        assert "auth.signing_keys" in answer.error["message"]
        assert asked(running.replicas[0], FORGED) == 401


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("auth: {admin_key: sk-first-admin-key-0123}", "state.url: missing"),
        ("state: {url: 'redis://127.0.0.1:1'}", "auth.signing_keys: missing"),
    ],
)
def test_command_names_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(f"{text}\nmodel_list: [{{id: m-1, model_name: m}}]\n")

    assert main(["tenants", "--config", str(config)]) == 1
    assert words in capsys.readouterr().err
