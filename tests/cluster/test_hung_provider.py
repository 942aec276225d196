"""A provider that takes calls and never answers is found out while they wait, not by their timeouts."""

from tests.support.cluster import Cluster, in_turn


def test_hung_provider_is_cut_off_and_its_calls_move_on_before_any_has_timed_out(cluster: Cluster) -> None:
    """Its calls may take 60 s; the breaker opens about a second after twice the latency threshold of 200 ms."""
    provider = cluster.providers[0]
    provider.behave(stall_rate=1)
    calls = [replica.begin_chat("hung", stream=True) for replica in in_turn(cluster.replicas, 8)]
    provider.wait_for(in_flight=8)
    cluster.wait_for_state("hung", "open")
    for call in calls:
        call.read_until(b"Hello")
    provider.wait_for(in_flight=0)
    moved = [replica.chat("hung", stream=True) for replica in cluster.replicas]
    for call in calls:
        call.leave()

    assert [answer.status for answer in moved] == [200] * 4
    assert cluster.transitions("hung") == ["closed>open overdue"]
    assert provider.counts()["requests"] == 8


def test_call_whose_provider_has_sent_something_stays(cluster: Cluster) -> None:
    provider = cluster.providers[0]
    provider.behave(stall_after_chunks=1)
    begun = cluster.replicas[0].begin_chat("hung", stream=True)
    begun.read_until(b"Hello")
    provider.behave(stall_after_chunks=None, stall_rate=1)
    calls = [replica.begin_chat("hung", stream=True) for replica in in_turn(cluster.replicas, 8)]
    cluster.wait_for_state("hung", "open")
    for call in calls:
        call.read_until(b"Hello")
    in_flight = provider.counts()["in_flight"]
    for call in (begun, *calls):
        call.leave()

    assert in_flight == 1


def test_two_slow_starters_are_no_outage(cluster: Cluster) -> None:
    """Three are needed: some prompts simply take long."""
    provider = cluster.providers[0]
    provider.behave(stall_rate=1)
    calls = [replica.begin_chat("hung", stream=True) for replica in cluster.replicas[:2]]
    provider.wait_for(in_flight=2)
    cluster.wait_for_beats(3)
    state = cluster.state("hung")
    for call in calls:
        call.leave()

    assert state == "closed"


def test_streams_that_have_begun_are_not_waiting(cluster: Cluster) -> None:
    provider = cluster.providers[0]
    provider.behave(stall_after_chunks=1)
    calls = [replica.begin_chat("hung", stream=True) for replica in in_turn(cluster.replicas, 8)]
    for call in calls:
        call.read_until(b"Hello")
    cluster.wait_for_beats(3)
    state = cluster.state("hung")
    for call in calls:
        call.leave()

    assert state == "closed"
