"""Load shedding by numbers of the whole cluster: every replica sheds alike, and a rejection costs no provider call."""

import contextlib
from collections.abc import Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from tests.cluster.conftest import PATIENT, fresh
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, deployment, in_turn, running_cluster
from tests.support.open_loop import Load, arrive
from tests.support.wire import Call, chat_bytes

CRITICAL = {"authorization": "Bearer key-critical"}
NORMAL = {"authorization": "Bearer key-normal"}
MOST, WITHOUT_RESERVE = 20, 16


@pytest.fixture(scope="module")
def small_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    keys = [{"name": "vital", "key": "key-critical", "priority": "critical"}, {"name": "team", "key": "key-normal"}]
    with running_cluster(
        store,
        provider_processes,
        [deployment("only", provider_processes[0], "only")],
        domain="small",
        replicas=2,
        auth={"admin": "local", "keys": keys},
        router={"latency_threshold": PATIENT, "load_shedding": {"max_active_requests": MOST}},
    ) as running:
        yield running


@pytest.fixture
def small(small_cluster: Cluster) -> Iterator[Cluster]:
    yield from fresh(small_cluster)


@pytest.fixture
def held(small: Cluster) -> Iterator[list[Call]]:
    """As many calls in flight as a tenant without priority may have."""
    # What was shed a moment ago is shed again without asking.
    wait_until(lambda: [replica.chat("only", headers=NORMAL).status for replica in small.replicas] == [200, 200])
    small.wait_until_idle()
    with contextlib.ExitStack() as ending:
        small.providers[0].behave(stall_rate=1)
        calls = [replica.begin_chat("only", headers=NORMAL) for replica in in_turn(small.replicas, WITHOUT_RESERVE)]
        for call in calls:
            ending.callback(call.leave)
        small.providers[0].wait_for(in_flight=WITHOUT_RESERVE)
        small.providers[0].behave(stall_rate=0)
        yield calls


def test_call_over_the_limit_is_shed_by_every_replica_without_a_provider_call(small: Cluster, held: list[Call]) -> None:
    before = small.providers[0].counts()["requests"]
    answers = [replica.chat("only", headers=NORMAL) for replica in small.replicas]

    assert [(answer.status, answer.error["code"]) for answer in answers] == [(503, "server_is_overloaded")] * 2
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    assert [answer.headers.get("x-pllm-state") for answer in answers] == ["shared"] * 2
    assert small.providers[0].counts()["requests"] == before


def test_calls_on_one_connection_are_shed_one_like_the_other(small: Cluster, held: list[Call]) -> None:
    """The first is refused by the store, those right after it from their bytes: nobody can tell which."""
    for replica in small.replicas:
        heads = []
        with Call(replica.address) as connection:
            for _ in range(50):
                connection.send(chat_bytes(model="only", headers=NORMAL))
                answer = connection.answer()
                assert (answer.status, answer.error["code"]) == (503, "server_is_overloaded")
                heads.append(sorted(answer.headers))
            assert heads == heads[:1] * len(heads)
            connection.send(chat_bytes(model="only", headers=CRITICAL))
            assert connection.answer().status == 200


def test_critical_call_is_still_let_in(small: Cluster, held: list[Call]) -> None:
    assert [replica.chat("only", headers=CRITICAL).status for replica in small.replicas] == [200, 200]


def test_critical_tenant_may_ask_for_less(small: Cluster, held: list[Call]) -> None:
    lowered = CRITICAL | {"x-pllm-priority": "normal"}

    assert small.replicas[0].chat("only", headers=lowered).status == 503


def test_priority_cannot_be_raised_by_a_header(small: Cluster, held: list[Call]) -> None:
    raised = NORMAL | {"x-pllm-priority": "critical"}

    assert small.replicas[0].chat("only", headers=raised).status == 503


def test_bulk_calls_are_shed_before_normal_ones(small: Cluster, held: list[Call]) -> None:
    """At 15 of 20 the cut is at 99.5: bulk is 100, normal is 50."""
    held.pop().leave()
    small.providers[0].wait_for(in_flight=WITHOUT_RESERVE - 1)
    small.wait_for_leases(WITHOUT_RESERVE - 1)
    bulk = small.replicas[0].chat("only", headers=NORMAL | {"x-pllm-priority": "bulk"})
    normal = small.replicas[1].chat("only", headers=NORMAL)

    assert (bulk.status, normal.status) == (503, 200)


def test_at_the_limit_critical_calls_are_shed_too_on_every_replica(small: Cluster, held: list[Call]) -> None:
    small.providers[0].behave(stall_rate=1)
    calls = [
        replica.begin_chat("only", headers=CRITICAL) for replica in in_turn(small.replicas, MOST - WITHOUT_RESERVE)
    ]
    small.providers[0].wait_for(in_flight=MOST)
    shed = small.replicas[0].chat("only", headers=CRITICAL)
    shown = [replica.get("/v1/admin/models/stats").json() for replica in small.replicas]
    for call in calls:
        call.leave()

    assert (shed.status, shed.error["code"]) == (503, "server_is_overloaded")
    assert [stats["should_shed_load"] for stats in shown] == [True, True]
    assert [stats["shed_reasons"] for stats in shown] == [["active_requests"]] * 2


def test_burst_never_exceeds_the_limit(small: Cluster) -> None:
    provider = small.providers[0]
    provider.behave(latency_ms=200)
    calls = [replica.begin_chat("only", headers=NORMAL) for replica in in_turn(small.replicas, 100)]
    statuses = [call.answer().status for call in calls]
    for call in calls:
        call.leave()

    assert provider.counts()["max_in_flight"] <= WITHOUT_RESERVE
    assert set(statuses) == {200, 503}


def test_steady_overload_is_logged_once(small: Cluster) -> None:
    """Twice what there is room for, by calls so short that a tenth of them is over while a rejection is remembered."""
    small.providers[0].behave(latency_ms=100)
    told = len(small.transitions("load_shedding"))
    arrived = arrive([replica.url for replica in small.replicas], "only", [Load("vital", MOST * 20, CRITICAL)], 4)

    assert {each.status for each in arrived} == {200, 503}
    assert len(small.transitions("load_shedding")[told:]) <= 2  # what was before may end meanwhile


def test_shed_calls_do_not_count_against_the_deployment(small: Cluster, held: list[Call]) -> None:
    before = small.deployment("only")
    for replica in in_turn(small.replicas, 10):
        replica.chat("only", headers=NORMAL)

    after = small.deployment("only")
    assert (after["state"], after.get("failures")) == ("closed", before.get("failures"))


def test_calls_are_let_in_again_when_the_load_is_gone(small: Cluster, held: list[Call]) -> None:
    assert small.replicas[0].chat("only", headers=NORMAL).status == 503
    for call in held:
        call.leave()
    small.wait_until_idle()

    # What was shed a moment ago is shed again without asking.
    wait_until(lambda: [replica.chat("only", headers=NORMAL).status for replica in small.replicas] == [200, 200])
