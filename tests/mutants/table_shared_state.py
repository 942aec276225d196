"""Slips in the client of the store: batching, failover, heartbeats."""

from tests.mutants.slip import Slip, Table

_STATE = "tests/shared_state/test_"
FAILOVER, BUDGET_STANDBY = f"{_STATE}failover.py", f"{_STATE}budget_standby.py"
_CONNECTION = "tests/shared_state/connection/test_"
BATCHER, STORE = f"{_CONNECTION}batcher.py", f"{_STATE}store.py"
ADDRESS, TOPOLOGY = f"{_CONNECTION}address.py", f"{_CONNECTION}topology.py"
BACKGROUND = f"{_STATE}background.py"
LOADING, LIBRARIES = f"{_CONNECTION}loading.py", f"{_CONNECTION}libraries.py"
FORCED = f"{FAILOVER}::test_what_was_moved_by_hand_in_one_outage_is_not_moved_again_after_the_next"
FORCED_FOR = f"{FAILOVER}::test_breaker_that_is_forced_open_for_a_time_has_what_is_left_of_it_on_the_shared_store"
FORCED_SHARED = f"{FAILOVER}::test_what_was_moved_by_hand_on_the_shared_store_is_not_moved_again_after_an_outage"
NEWEST = f"{FAILOVER}::test_replaced_standby_knows_the_newest_of_each_breaker"

SEAL, WRITER = f"{_STATE}seal.py", "tests/cluster/test_store_writer.py"

OWNED = "tests/shared_state/calls/test_owned.py"

SHARED_STATE: Table = {
    "shared_state/calls/owned.py": (
        Slip('f"{tenant}\\0{name}"', "name", OWNED, "a tenant is served by the account of another one"),
        Slip('f"{tenant}\\0{name}"', 'f"{tenant}{name}"', OWNED, "two tenants share an id whose parts fit together"),
    ),
    "shared_state/seal.py": (
        Slip(
            'self._domain + b"\\0" + body',
            "body",
            SEAL,
            "a record of another routing domain opens this one",
        ),
        Slip(
            "self.is_open = not self._keys and not is_required",
            "self.is_open = not self._keys",
            SEAL,
            "a configuration with keys and without secrets believes every record",
        ),
        Slip(
            "match[2], self._keys[:1])",
            "match[2], self._keys)",
            SEAL,
            "a former secret can never be dropped",
        ),
    ),
    "shared_state/tenants.py": (
        Slip(
            "return self._seal.is_believed(text) or (known is not None and body_of(known) == body_of(text))",
            "return self._seal.is_believed(text)",
            WRITER,
            "a new secret locks the tenants out until every replica has it",
        ),
        Slip(
            "return self._seal.is_believed(text) or (known is not None and body_of(known) == body_of(text))",
            "return self._seal.is_believed(text) or known is not None",
            WRITER,
            "a person who can write to the store changes a tenant's key",
        ),
    ),
    "shared_state/subscription.py": (
        Slip(
            "except ValueError:",
            "except KeyError:",
            f"{_STATE}subscription.py",
            "nonsense on a channel breaks the connection that listens",
        ),
    ),
    "shared_state/connection/call.py": (
        Slip(
            "return self.again if self.sendings else self.packed",
            "return self.packed",
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
    "shared_state/connection/loading.py": (
        Slip(
            'if "fcall" in text.lower():',
            "if False:",
            LOADING,
            "a store that refuses FCALL fails every request",
        ),
        Slip(
            ' and not str(reply).endswith("already exists")',
            "",
            LOADING,
            "a library that another replica has loaded counts as refused, and the store works twice as long",
        ),
        Slip(
            'or text == "ERR Function not found"',
            "",
            LOADING,
            "flushed libraries fail every request",
        ),
    ),
    "shared_state/connection/libraries.py": (
        Slip(
            "elif now_ms - int(since_ms) >= UNUSED_MS:",
            "else:",
            LIBRARIES,
            "a library goes after an hour without a call",
        ),
        Slip(
            ', *([b"own"] * (name in ours))',
            "",
            LIBRARIES,
            "a script that is seldom called loses its library while its version runs",
        ),
    ),
    "shared_state/connection/batcher.py": (
        Slip(
            "if verdict and turns:",
            "if False:",
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
            "        else:\n            call.sendings -= 1\n            self._unloaded.append(call)",
            "        else:\n            self._unloaded.append(call)",
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
            "if is_lost:\n                self._fail_all(error)",
            "if is_lost:\n                self._on_lost(error)",
            BATCHER,
            "calls wait three times as long for a store that is lost",
        ),
        Slip(
            "self._patience.has_standby and self._pace.is_slow",
            "self._pace.is_slow",
            BATCHER,
            "without a standby store, calls fail that a slow store would have answered",
        ),
        Slip(
            "            if call.is_urgent:\n                self._pace.note(self._took_s)",
            "            pass",
            BATCHER,
            "a store that has become slow is used for ever",
        ),
        Slip(
            "        self._received_at = self._clock.now()\n        self._on_pause()",
            "        self._on_pause()",
            BATCHER,
            "a late reply is not waited for though bytes come",
        ),
        Slip(
            "min(max(room - len(batch), len(batch)), len(later))",
            "min(room - len(batch), len(later))",
            BATCHER,
            "under load what has ended counts as active, and the gateway sheds what it could serve",
        ),
        Slip(
            "self._refusals += 1\n        if self._patience.has_standby or self._refusals >= ATTEMPTS_ALONE:",
            "if True:",
            BATCHER,
            "one refused connection fails all calls that wait",
        ),
    ),
    "shared_state/recovery.py": (
        Slip(
            "live = self._memory.only_live(leases)",
            "live = leases",
            f"{_STATE}store.py::test_settle_that_overtakes_a_reassert_leaves_no_lease",
            "an ended lease comes back and counts as active",
        ),
        Slip(
            "            if chunks == 1 or not count:\n                position += 1",
            "            position += 1",
            STORE,
            "leases of a dead replica with many of them survive when calls end meanwhile",
        ),
        Slip(
            "self.epoch_changes += beat.epoch != before.epoch",
            "self.epoch_changes += 1",
            STORE,
            "the metric of forgotten epochs counts what is none",
        ),
        Slip(
            "if sequence <= self._sequence:",
            "if sequence < self._sequence - 1_000_000:",
            STORE,
            "a store that lost its last seconds is not put right before the next heartbeat",
        ),
    ),
    "shared_state/connection/lost_calls.py": (
        Slip(
            "if (was_sent or is_sent) and len(self._unconfirmed) < KEPT_MOST:",
            "if len(self._unconfirmed) < KEPT_MOST:",
            STORE,
            "decisions that were never sent are asked for again",
        ),
    ),
    "shared_state/store.py": (
        Slip(
            "            self._answered = answered | self._answered\n            raise",
            "            raise",
            STORE,
            "streams that have begun count as hanging after a lost heartbeat",
        ),
        Slip(
            "        self._lost_calls.resend()\n",
            "",
            STORE,
            "grants and settles that were lost stay active until their lease ends",
        ),
        Slip(
            "if granted.done() and not granted.cancelled() and granted.exception() is None:",
            "if False:",
            STORE,
            "a grant whose client left in the same moment stays active",
        ),
        Slip(
            "self.memory.end(token)\n        packed = self._calls.settle(permit,",
            "packed = self._calls.settle(permit,",
            STORE,
            "requests that have ended are put back into a store that was flushed",
        ),
    ),
    "shared_state/memory.py": (
        Slip(
            "return [live for live in self.live.values() if live.permit.deployment_id == deployment_id]",
            "return list(self.live.values())",
            f"{_STATE}memory.py",
            "leases of other deployments are sent along when a replica reaps its own",
        ),
        Slip(
            "Live(permit, time.monotonic() + hold_s, is_shared)",
            "Live(permit, time.monotonic(), is_shared)",
            f"{_STATE}memory.py",
            "calls with a block's permit are told older than they are",
        ),
    ),
    "shared_state/connection/patience.py": (
        Slip(
            "silent_s = now_s - max(received_s, oldest.queued_at)",
            "silent_s = now_s - oldest.queued_at",
            BATCHER,
            "a store that answers slowly is taken for lost",
        ),
        Slip(
            "if sent is not None and sent.sendings == 1 and silent_s >= patience.deadline_ms / 1000:",
            "if sent is not None and silent_s >= patience.deadline_ms / 1000:",
            BATCHER,
            "a store that hangs gets a new connection for every deadline that passes",
        ),
        Slip(
            "min(self._loop.time() - self._ticked_at, self._most_s)",
            "(self._loop.time() - self._ticked_at)",
            f"{_CONNECTION}patience.py {BATCHER}",
            "a replica without CPU leaves a store that is well",
        ),
        Slip(
            "self._ticked_at = self._loop.time()",
            "self._ticked_at = self._ticked_at or self._loop.time()",
            f"{_CONNECTION}patience.py",
            "time in which nothing waited counts as the store's silence",
        ),
        Slip(
            "self._slow_seconds + 1 if 2 * self._late > self._decisions else 0",
            "self._slow_seconds + (2 * self._late > self._decisions)",
            f"{_CONNECTION}patience.py",
            "five slow seconds of a whole day are enough to leave the store",
        ),
        Slip(
            "if int(now_s) != self._second and self._decisions:",
            "if int(now_s) != self._second:",
            f"{_CONNECTION}patience.py",
            "a store that nobody asks for a second counts as fast again",
        ),
    ),
    "shared_state/heartbeat.py": (
        Slip(
            "self._good, self._retry_s, self._try_at_s = 0, RETRY_FIRST_S, 0.0",
            "self._good, self._try_at_s = 0, 0.0",
            f"{_STATE}failover.py {_STATE}heartbeat.py",
            "after a long outage the next short one lasts as long",
        ),
        Slip(
            "        self._good = 0\n        self._try_at_s = time.monotonic() + self._retry_s",
            "        self._try_at_s = time.monotonic() + self._retry_s",
            f"{_STATE}failover.py {_STATE}heartbeat.py",
            "a store that answers every other heartbeat is trusted again",
        ),
        Slip(
            "min(2 * self._wanted, GOOD_BEATS_MOST) if self._is_flapping() else GOOD_BEATS",
            "GOOD_BEATS",
            f"{_STATE}failover.py {_STATE}heartbeat.py",
            "a replica returns again and again to a store that loses its decisions",
        ),
        Slip(
            "for dead in beat.dead_replicas:",
            "for dead in beat.dead_replicas[1:]:",
            f"{_STATE}failover.py {_STATE}heartbeat.py",
            "the leases of a dead replica stay until they expire",
        ),
        Slip(
            "            if not self._failover.enter(error):\n                raise",
            "            raise",
            f"{_STATE}failover.py {_STATE}heartbeat.py",
            "a replica does not start while the shared store is away",
        ),
        Slip(
            "            if failover.shared.is_slow:\n                raise StoreTimeout",
            "            if False:\n                raise StoreTimeout",
            f"{_STATE}failover.py {_STATE}heartbeat.py",
            "a replica returns to a store that is as slow as it was when it left",
        ),
    ),
    "shared_state/standby.py": (
        Slip(
            "router.retry_floor_per_second / replicas",
            "router.retry_floor_per_second",
            FAILOVER,
            "in an outage of the store each replica retries as much as the whole cluster may",
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
    "shared_state/connection/address.py": (
        Slip(
            'quote(part, safe="")',
            "part",
            ADDRESS,
            "a password with special characters arrives as another one",
        ),
        Slip(
            "return self._url(self.sentinel_user,",
            "return self._url(self.user,",
            ADDRESS,
            "Sentinels get the password of the store",
        ),
        Slip(
            'if len(given) > 1 or "//" in path or not all(',
            "if False and not all(",
            ADDRESS,
            "an address that names a database by a word, or two of them, means another one",
        ),
    ),
    "shared_state/connection/topology.py": (
        Slip(
            "return awaited == 0 or most >",
            "return True or most >",
            TOPOLOGY,
            "the first Sentinel that answers decides, also one that was cut off",
        ),
        Slip(
            "awaited = sum(seed not in self._silent for seed in waiting)",
            "awaited = len(waiting)",
            TOPOLOGY,
            "a Sentinel that hangs costs half a second at each connection",
        ),
        Slip(
            "except (StateError, LookupError, TimeoutError) as error:",
            "except TimeoutError as error:",
            TOPOLOGY,
            "one bad Sentinel of three keeps a replica from the store",
        ),
    ),
    "shared_state/background.py": (
        Slip(
            "self._timer = self._loop.call_later(self._pause_s, self._begin)",
            "self._timer = None",
            BACKGROUND,
            "a task that has failed once is gone for good",
        ),
        Slip(
            "self._pause_s = min(2 * self._pause_s, PAUSE_MOST_S)",
            "pass",
            BACKGROUND,
            "a task that fails at each start fills the log",
        ),
        Slip(
            "if error is not None and not isinstance(error, expected):",
            "if False:",
            BACKGROUND,
            "a defect in a single task is seen by nobody",
        ),
    ),
}
