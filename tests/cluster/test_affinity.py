"""Sessions over sockets: their turns stay with one provider, whichever replica they reach, until it fails."""

from collections.abc import Iterator

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import Cluster, deployment, in_turn, running_cluster
from tests.support.wire import Answer


@pytest.fixture(scope="module")
def sticky(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    """Two replicas whose model has as many deployments as there are providers."""
    models = [deployment(f"gpt-4-{k}", provider) for k, provider in enumerate(provider_processes)]
    router = {"affinity": {"mode": "session"}, "load_shedding": {"max_failure_rate": 1, "min_healthy_ratio": 0}}
    with running_cluster(store, provider_processes, models, domain="sticky", router=router) as running:
        yield running


@pytest.fixture
def cluster(sticky: Cluster) -> Cluster:
    sticky.forget()
    for provider in sticky.providers:
        provider.behave(error_rate=0, prompt_cache=100)
    sticky.wait_for_beats(2)
    return sticky


def turns(cluster: Cluster, session: str, count: int) -> list[Answer]:
    return [replica.chat(headers={"x-session-id": session}) for replica in in_turn(cluster.replicas, count)]


def served_by(answers: list[Answer]) -> set[str]:
    return {answer.headers["x-pllm-deployment"] for answer in answers}


def test_turns_stay_together_on_all_replicas(cluster: Cluster) -> None:
    sessions = {f"s{k}": turns(cluster, f"s{k}", 6) for k in range(12)}

    for answers in sessions.values():
        assert [answer.headers["x-pllm-affinity"] for answer in answers] == ["new", *["pinned"] * 5]
        assert len(served_by(answers)) == 1
    assert len(set().union(*map(served_by, sessions.values()))) > 1


def test_failing_provider_loses_its_session_once(cluster: Cluster) -> None:
    [home] = served_by(turns(cluster, "moving", 2))
    cluster.providers[int(home.removeprefix("gpt-4-"))].behave(error_rate=1)

    later = turns(cluster, "moving", 4)

    assert [answer.status for answer in later] == [200] * 4
    assert [answer.headers["x-pllm-affinity"] for answer in later] == ["moved(failed)", *["pinned"] * 3]
    assert served_by(later).isdisjoint({home})
    assert len(served_by(later)) == 1


def test_provider_gets_the_header_of_the_session(cluster: Cluster) -> None:
    [answer] = turns(cluster, "passed on", 1)
    provider = cluster.providers[int(answer.headers["x-pllm-deployment"].removeprefix("gpt-4-"))]

    assert provider.counts()["last_headers"]["x-session-id"] == "passed on"


def test_store_keeps_no_name_of_a_session(cluster: Cluster) -> None:
    turns(cluster, "my-secret-conversation", 2)
    pins = {
        name: value
        for key in ("affinity:0", "affinity:1")
        for name, value in cluster.redis.hgetall(cluster.key(key)).items()
    }

    assert pins
    assert "my-secret-conversation" not in str(pins)


def test_beginning_names_a_session_without_an_id(cluster: Cluster) -> None:
    first = [{"role": "user", "content": "Where is Oslo?"}]
    later = [*first, {"role": "assistant", "content": "In Norway."}, {"role": "user", "content": "How far?"}]
    answers = [cluster.replicas[0].chat(messages=first), cluster.replicas[1].chat(messages=later)]

    assert [answer.headers["x-pllm-affinity"] for answer in answers] == ["new", "pinned"]
    assert len(served_by(answers)) == 1


def test_identical_single_requests_are_spread(cluster: Cluster) -> None:
    answers = [
        replica.chat(messages=[{"role": "user", "content": "Ping"}]) for replica in in_turn(cluster.replicas, 40)
    ]

    assert {answer.headers["x-pllm-affinity"] for answer in answers} == {"new"}
    assert len(served_by(answers)) == len(cluster.providers)
