"""Slips in the client of the store: batching, failover, heartbeats."""

from tests.mutants.slip import Slip, Table

_STATE = "tests/shared_state/test_"
FAILOVER, BUDGET_STANDBY = f"{_STATE}failover.py", f"{_STATE}budget_standby.py"

SHARED_STATE: Table = {
    "shared_state/failover.py": (
        Slip(
            "self._forced.clear()",
            "pass",
            FAILOVER,
            "what was forced in one outage is applied again after every later one",
        ),
        Slip(
            "left_ms = ttl_ms and ttl_ms - round((time.monotonic() - at_s) * 1000)",
            "left_ms = ttl_ms",
            FAILOVER,
            "the time of a forced breaker starts anew when the replica is back",
        ),
        Slip(
            "{**self._seen.breakers, **self._active.view.breakers}",
            "{**self._active.view.breakers, **self._seen.breakers}",
            FAILOVER,
            "on a new standby store older breakers beat newer ones",
        ),
        Slip(
            "ending = msgspec.structs.replace(ending, cost=0)",
            "pass",
            BUDGET_STANDBY,
            "a call that ends during an outage is charged on both stores",
        ),
        Slip(
            "self.standby.store.settle(permit, Ending(Outcome.CANCELLED, cost=0))",
            "self.standby.store.settle(permit, Ending(Outcome.CANCELLED))",
            BUDGET_STANDBY,
            "a call that ends after an outage is charged on both stores",
        ),
        Slip(
            "router.retry_floor_per_second / replicas",
            "router.retry_floor_per_second",
            FAILOVER,
            "in an outage of the store each replica retries as much as the whole cluster may",
        ),
        Slip(
            "if done and self._active is not self.shared:",
            "if done:",
            FAILOVER,
            "what an operator forces is forced again after the next outage",
        ),
        Slip(
            "if self._active is not self.shared and self._is_shared(permit):",
            "if self._is_shared(permit):",
            FAILOVER,
            "each first byte is told twice",
            survives="marking a stream that is marked changes nothing",
        ),
    ),
}
