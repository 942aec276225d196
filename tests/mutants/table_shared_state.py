"""Slips in the client of the store: batching, failover, heartbeats."""

from tests.mutants.slip import Slip, Table

_STATE = "tests/shared_state/test_"
FAILOVER, BUDGET_STANDBY = f"{_STATE}failover.py", f"{_STATE}budget_standby.py"
BATCHER, STORE = f"{_STATE}batcher.py", f"{_STATE}store.py"
FORCED = f"{FAILOVER}::test_what_was_moved_by_hand_in_one_outage_is_not_moved_again_after_the_next"
FORCED_FOR = f"{FAILOVER}::test_breaker_that_is_forced_open_for_a_time_has_what_is_left_of_it_on_the_shared_store"
FORCED_SHARED = f"{FAILOVER}::test_what_was_moved_by_hand_on_the_shared_store_is_not_moved_again_after_an_outage"
NEWEST = f"{FAILOVER}::test_replaced_standby_knows_the_newest_of_each_breaker"

SHARED_STATE: Table = {
    "shared_state/batcher.py": (
        Slip(
            "elif turns:",
            "elif False:",
            BATCHER,
            "a busy gateway takes a store that has answered for lost",
        ),
        Slip(
            "self._urgent.extendleft(reversed([call for call in calls if",
            "self._urgent.extendleft(([call for call in calls if",
            BATCHER,
            "after a broken connection calls go out in reverse: acquires ahead of the settles that free their place",
        ),
        Slip(
            "self._urgent.extendleft(reversed(",
            "self._urgent.extend((",
            BATCHER,
            "after a broken connection newcomers go out ahead of those who have waited",
        ),
        Slip(
            "call.redirects += 1\n            call.sendings -= 1",
            "call.redirects += 1",
            BATCHER,
            "a call that a replica refused is sent again as if it might have been carried out",
        ),
        Slip(
            "        else:\n            call.sendings -= 1\n            self._forgotten.append(call)",
            "        else:\n            self._forgotten.append(call)",
            BATCHER,
            "a call whose script was unknown is sent again as if it might have been carried out",
        ),
        Slip(
            "if self._is_closed or (self._is_closing and is_urgent):",
            "if self._is_closed:",
            BATCHER,
            "a replica that ends takes leases that nobody will use",
        ),
        Slip(
            "room = IN_FLIGHT_MOST - len(in_flight)",
            "room = IN_FLIGHT_MOST",
            BATCHER,
            "a store that is slow gets all calls at once, and all of them miss their deadline",
        ),
        Slip(
            "call.sent_at + (due_s if call.sendings == 1 else min(due_s, self._patience.again_most_s))",
            "call.sent_at + due_s",
            BATCHER,
            "with a long deadline a lost store costs three of them before the standby store takes over",
        ),
        Slip(
            "for queue in (urgent, later):",
            "for queue in (later, urgent):",
            BATCHER,
            "settles go ahead of acquires",
        ),
        Slip(
            "self._refusals += 1\n        if self._refusals >= self._patience.refusals:",
            "if True:",
            BATCHER,
            "one refused connection fails all calls that wait",
        ),
        Slip(
            "(call.again if call.sendings else call.packed)",
            "call.packed",
            BATCHER,
            "a call that is sent again may be granted twice",
        ),
        Slip(
            "self.lost(self.sendings > 0)",
            "self.lost(True)",
            STORE,
            "what was never sent is asked about again and again",
        ),
    ),
    "shared_state/failover.py": (
        Slip(
            "self._forced.clear()",
            "pass",
            FORCED,
            "what was forced in one outage is applied again after every later one",
        ),
        Slip(
            "left_ms = ttl_ms and ttl_ms - round((time.monotonic() - at_s) * 1000)",
            "left_ms = ttl_ms",
            FORCED_FOR,
            "the time of a forced breaker starts anew when the replica is back",
        ),
        Slip(
            "{**self._seen.breakers, **self._active.view.breakers}",
            "{**self._active.view.breakers, **self._seen.breakers}",
            NEWEST,
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
            FORCED_SHARED,
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
