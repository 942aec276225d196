"""Counts the bytes of request bodies in this replica's memory, from their first byte to the end of their request."""

import os
from collections.abc import Callable
from pathlib import Path

from gateway.configuration.server import ServerSettings
from gateway.errors import ReplicaFault

SHARE = 4  # the part of the memory limit that bodies may take by default: 1 / SHARE
UNLIMITED = 1 << 60  # cgroups write about this number where there is no limit
PROCESSES = "PLLM_PROCESSES"  # in the environment of each of several processes behind one port: their number
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class BodyMemory:
    """Bounds the bodies of the replica, and those of one tenant to half of that where ``is_shared`` returns that there
    are several. The request that exceeds a bound is refused.
    """

    def __init__(self, most: int, is_shared: Callable[[], bool]) -> None:
        self.most = most
        self._is_shared = is_shared
        self.size = 0
        self._of_tenants: dict[str, int] = {}

    def take(self, tenant: str, size: int) -> None:
        """Counts the bytes. Raises ReplicaFault for bytes that exceed a bound, and does not count them."""
        of_tenant = self._of_tenants.get(tenant, 0) + size
        if self.size + size > self.most:
            raise ReplicaFault("The gateway has no memory left for this request body.", retry_after_ms=1000)
        if of_tenant > self.most // 2 and self._is_shared():
            message = "The request bodies in flight fill the tenant's share of the gateway's memory."
            raise ReplicaFault(message, retry_after_ms=1000)
        self.size += size
        self._of_tenants[tenant] = of_tenant

    def release(self, tenant: str, size: int) -> None:
        self.size -= size
        left = self._of_tenants.pop(tenant) - size
        if left:
            self._of_tenants[tenant] = left


class HeldBody:
    """The account of one request's body."""

    __slots__ = ("_memory", "_size", "_tenant")

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self._tenant = ""
        self._size = 0

    def add(self, tenant: str, size: int) -> None:
        """Counts further bytes. Raises ReplicaFault."""
        self._memory.take(tenant, size)
        self._tenant = tenant
        self._size += size

    def release_part(self, size: int) -> None:
        """Releases bytes that were added and are no longer held."""
        self._memory.release(self._tenant, size)
        self._size -= size

    def release(self) -> None:
        if self._size:
            self._memory.release(self._tenant, self._size)
            self._size = 0


def most_of(server: ServerSettings) -> int:
    """Returns the bound of this process in bytes, by configuration or by default."""
    if server.max_body_memory_bytes is not None:
        return server.max_body_memory_bytes
    processes = os.environ.get(PROCESSES, "1")
    return max(server.max_body_bytes, default_most(int(processes) if processes.isdigit() else 1))


def default_most(processes: int, limits: tuple[str, ...] = _LIMITS, machine: str = "/proc/meminfo") -> int:
    """Returns a quarter of what the container or the machine may use, in bytes, divided among ``processes`` that share
    it. ``limits``: files of cgroups 2 and 1; ``machine``: where Linux writes the memory of the machine, in KiB.
    """
    found = [limit for limit in map(_number, limits) if limit is not None and limit < UNLIMITED]
    return min([*found, _machine_bytes(machine)]) // SHARE // max(1, processes)


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # not there, or "max"
        return None


def _machine_bytes(path: str) -> int:
    try:
        first = Path(path).read_text().split("\n", 1)[0]
        return int(first.split()[1]) * 1024
    except (OSError, ValueError, IndexError):  # another system than Linux
        return 1 << 32
