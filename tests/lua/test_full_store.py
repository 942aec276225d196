"""A store whose memory is full: what makes room or takes rights away still works, in both forms of a script."""

import contextlib
from collections.abc import Iterator

import pytest
import redis

from tests.lua.test_tenants import record, tenants
from tests.support.state import Cluster


@contextlib.contextmanager
def full(cluster: Cluster) -> Iterator[None]:
    cluster.cli.do("CONFIG", "SET", "maxmemory", 1)
    try:
        yield
    finally:
        cluster.cli.do("CONFIG", "SET", "maxmemory", 0)


def test_lease_ends_and_none_is_granted(cluster: Cluster) -> None:
    cluster.configure("a")
    permit = cluster.granted("a")
    with full(cluster):
        with pytest.raises(redis.OutOfMemoryError):
            cluster.acquire("a")
        cluster.settle(permit)

    assert cluster.active("a") == 0


def test_tenants_are_read_and_removed(cluster: Cluster) -> None:
    tenants(cluster, "put", "a", record("1"))
    with full(cluster):
        assert tenants(cluster, "read")[0] == 1
        assert tenants(cluster, "remove", "a") == [2]


@pytest.mark.parametrize("action", ["close", "reset"])
def test_operator_closes_a_breaker(cluster: Cluster, action: str) -> None:
    cluster.configure("a")
    cluster.trip("a")
    with full(cluster):
        assert cluster.force("a", action)

    assert cluster.state("a") == "closed"
