"""Scores decide before breakers do: a slow deployment loses traffic while it still answers, and a model is left for its
fallback only when that is clearly better.
"""

from tests.support.cluster import Cluster, in_turn


def serve(cluster: Cluster, model: str, calls: int, at_once: int = 20) -> list[str]:
    """Which deployments served."""
    served = []
    replicas = in_turn(cluster.replicas, calls)
    for _ in range(calls // at_once):
        sent = [next(replicas).begin_chat(model) for _ in range(at_once)]
        for call in sent:
            served.append(call.answer().headers.get("x-pllm-deployment", "nobody"))
            call.leave()
    return served


def test_slow_deployment_loses_traffic_before_it_fails(tolerant: Cluster) -> None:
    """It keeps about a tenth: its score alone would give it 28 %, but of two draws the one that answers sooner wins."""
    tolerant.providers[1].behave(latency_ms=600)  # far more than a busy test machine adds to the fast one
    serve(tolerant, "mixed", 40)
    served = serve(tolerant, "mixed", 400, at_once=40)
    breakers = tolerant.replicas[0].stats()["adaptive_breakers"]["mixed"]

    assert 15 < served.count("slow") < 80
    assert (breakers["state"], breakers["failures"]) == ("CLOSED", 0)


def test_equal_deployments_both_get_traffic(tolerant: Cluster) -> None:
    served = serve(tolerant, "mixed", 200)

    assert min(served.count("fast"), served.count("slow")) > 20


def test_sick_model_is_left_for_a_healthy_fallback(tolerant: Cluster) -> None:
    """At half failures its health is below 90 and the fallback scores more than a quarter better."""
    tolerant.providers[0].behave(error_rate=0.5)
    serve(tolerant, "home", 60)
    tolerant.wait_until_idle()
    served = serve(tolerant, "home", 20, at_once=1)  # many at once would look slow on a busy test machine

    assert served == ["away"] * 20


def test_sick_model_is_not_left_for_an_equally_sick_fallback(tolerant: Cluster) -> None:
    """Else two models of equal worth would take turns."""
    for provider in tolerant.providers[:2]:
        provider.behave(error_rate=1)
    serve(tolerant, "home", 20)
    serve(tolerant, "away", 20)
    for provider in tolerant.providers[:2]:
        provider.behave(error_rate=0)
    tolerant.wait_until_idle()
    served = serve(tolerant, "home", 20, at_once=1)

    assert served == ["home"] * 20


def test_healthy_model_is_not_left(tolerant: Cluster) -> None:
    assert serve(tolerant, "home", 100) == ["home"] * 100


def test_fallbacks_are_tried_in_the_order_of_the_chain(cluster: Cluster) -> None:
    """Priority ranks deployments within a model, never models."""
    first, second, third = cluster.providers
    for replica in cluster.replicas:
        for provider in (first, second, third):
            provider.behave(error_rate=1)
        assert [d["deployment"] for d in replica.chat("main").error["attempts"]] == ["main", "backup-1", "backup-2"]
        cluster.forget()


def test_second_fallback_serves_when_the_first_is_open(cluster: Cluster) -> None:
    cluster.replicas[0].force("main", "open")
    cluster.replicas[1].force("backup-1", "open")
    served = [replica.chat("main").headers["x-pllm-fallback"] for replica in cluster.replicas]

    assert served == ["main>backup-2"] * 4
