"""What tenants used of models, by day: each call of a replica counts once, and names are bounded."""

import pytest

from tests.support.state import Cluster

DAY_MS = 86_400_000
NOON_MS = 1_796_040_000_000  # 2026-11-30T12:00Z
ROWS_MOST = 10_000


def add(cluster: Cluster, number: int, *rows: tuple[str, str, int], replica: str = "r", age_ms: int = 0) -> int:
    """Adds rows of tenant, model and cost; all other counts are 1."""
    words = [word for tenant, model, cost in rows for word in (tenant, model, *([1] * 6), cost)]
    [added] = cluster.run("usage_add", [cluster.keys.domain], [replica, number, age_ms, *words])
    assert isinstance(added, int)
    return added


def kept(cluster: Cluster, day: str = "2026-11-30") -> dict[str, str]:
    reply = cluster.run("usage", [cluster.keys.usage(day)], [""], read_only=True)
    words = [word.decode() for word in reply if isinstance(word, bytes)]
    return dict(zip(words[::2], words[1::2], strict=True))


@pytest.fixture
def at_noon(cluster: Cluster) -> Cluster:
    cluster.set_clock(NOON_MS)
    return cluster


def test_counts_add_up_by_tenant_and_model(at_noon: Cluster) -> None:
    add(at_noon, 1, ("a", "gpt-4", 5), ("b", "gpt-4", 7))
    add(at_noon, 2, ("a", "gpt-4", 6), ("a", "o3", 9))

    assert kept(at_noon) == {
        "a gpt-4": "2 2 2 2 2 2 11",
        "b gpt-4": "1 1 1 1 1 1 7",
        "a o3": "1 1 1 1 1 1 9",
        "rows": "3",
    }


def test_call_that_arrives_again_counts_once(at_noon: Cluster) -> None:
    added = [add(at_noon, number, ("a", "m", 5)) for number in (1, 1, 2, 1, 2)]

    assert (added, kept(at_noon)["a m"]) == ([1, 0, 1, 0, 0], "2 2 2 2 2 2 10")


def test_replicas_number_their_calls_apart(at_noon: Cluster) -> None:
    add(at_noon, 9, ("a", "m", 5), replica="r1")

    assert add(at_noon, 1, ("a", "m", 5), replica="r2") == 1


def test_counts_belong_to_the_day_on_which_they_began(at_noon: Cluster) -> None:
    add(at_noon, 1, ("a", "m", 5), age_ms=DAY_MS // 2)
    add(at_noon, 2, ("a", "m", 6), age_ms=DAY_MS // 2 + 1)

    assert kept(at_noon)["a m"] == "1 1 1 1 1 1 5"
    assert kept(at_noon, "2026-11-29")["a m"] == "1 1 1 1 1 1 6"


def test_day_is_kept_for_400_days_and_the_last_number_for_one(at_noon: Cluster) -> None:
    add(at_noon, 1, ("a", "m", 5))
    sent_key = at_noon.keys.prefix + "usage_sent:r"
    lives_ms = [at_noon.cli.do("PTTL", key) for key in (at_noon.keys.usage("2026-11-30"), sent_key)]

    assert [round(ms / DAY_MS, 2) for ms in lives_ms] == [400, 1]


def test_rows_beyond_the_bound_share_one_of_their_tenant_and_then_one_of_all(at_noon: Cluster) -> None:
    add(at_noon, 1, ("a", "m", 1))
    key = at_noon.keys.usage("2026-11-30")
    at_noon.cli.do("HSET", key, "rows", ROWS_MOST)
    add(at_noon, 2, ("a", "m", 1), ("a", "new", 2), ("a", "newer", 3), ("b", "new", 4))
    at_noon.cli.do("HSET", key, "rows", 2 * ROWS_MOST)
    add(at_noon, 3, ("c", "new", 5), ("d", "new", 6), ("a", "newest", 7))

    costs = {name: int(counts.split()[-1]) for name, counts in kept(at_noon).items() if " " in name}
    assert costs == {"a m": 2, "a other": 12, "b other": 4, "other other": 11}


def test_sums_end_where_numbers_are_no_longer_exact(at_noon: Cluster) -> None:
    for number in (1, 2):
        add(at_noon, number, ("a", "m", 2**53 - 1))

    assert kept(at_noon)["a m"].split()[-1] == str(2**53)


def test_counts_that_were_overwritten_begin_anew(at_noon: Cluster) -> None:
    at_noon.cli.do("HSET", at_noon.keys.usage("2026-11-30"), "a m", "nonsense", "rows", "many")

    add(at_noon, 1, ("a", "m", 5))

    assert kept(at_noon) == {"a m": "1 1 1 1 1 1 5", "rows": "0"}
