"""Reloads the configuration of a running cluster: all replicas take a new one, or none does.

The replica that receives the request reads its file and proposes the digest in the store. Each replica reads its own
file, checks it and answers. The store commits when all live replicas are ready. It publishes each step; replicas that
miss a message poll. A replica that was away takes the configuration in force when it returns, if its file is that one.
With `take` a replica puts its own file in force without the others.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable

import msgspec

from gateway.configuration.settings import ConfigurationError, Settings
from gateway.configuration.yaml_source import Problem
from gateway.errors import ConfigurationRefused, Conflict
from gateway.reload.answers import PREPARE_MS, READY, InForce, Reloaded, in_force_of, objections, refusal, reloaded
from gateway.reload.changes import Places, changes, restart_problems
from gateway.reload.file import ConfigurationFile, Loaded
from gateway.reload.participation import Participation, meaning
from shared_state.background import Kept, once
from shared_state.errors import StateError, StoreTimeout
from shared_state.snapshots import Agreement

GRACE_S = 2.0
POLL_EVERY_S, POLL_SOON_S = 2.0, 0.5  # in case a message was missed; while this replica's file waits to be in force
POLL_S, REMIND_EVERY = 0.05, 8
CONVERGE_S = 5.0
Learn = Callable[[Settings], None]

_log = logging.getLogger("pllm.configuration")


class Reloader:
    """Reloads the configuration. ``name``: this replica's name since its start; ``learn`` takes every configuration
    before it is used or logged, and raises ConfigurationError for one that contradicts the store's tenants; ``counts``:
    reloads by result.
    """

    def __init__(
        self, file: ConfigurationFile, name: str, participation: Participation, learn: Learn, counts: Counter[str]
    ) -> None:
        self._file, self._name = file, name
        self._part = participation
        self._in_force = participation.in_force
        self._learn = learn
        self._counts = counts
        self._places = Places(participation.settings)
        self._candidate: Loaded | None = None
        self._changed: list[str] | None = None  # by a file in use whose policies are not yet in the store
        self._answered = 0  # the version of an undecided proposal that this replica has answered; 0: none
        self._examined = 0  # the last version in force that this replica's file did not match
        self._woken = asyncio.Event()
        self._checking, self._reloading = asyncio.Lock(), asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: Kept | None = None

    @property
    def version(self) -> int:
        """The version of the configuration that this replica serves by."""
        return self._in_force.version

    @property
    def is_ready(self) -> bool:
        """Whether this replica can serve by the configuration in force."""
        return self._part.is_ready

    async def start(self) -> None:
        """Takes the configuration in force before the first request is served, unless the store fails."""
        with contextlib.suppress(StateError):
            await self._check()
        self._kept = Kept("reloader", self._run)

    async def stop(self) -> None:
        """Cancels the reloads that run in the background."""
        if self._kept is not None:
            await self._kept.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def wake(self) -> None:
        """Checks the store soon, because it has published a message."""
        self._woken.set()

    def request(self) -> None:
        """Starts `reload` in the background. The result is in the log."""
        task = once("reload", self._requested())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _requested(self) -> None:
        try:
            done = await self.reload()
        except ConfigurationRefused:
            return  # logged where it was raised
        except (Conflict, StateError) as error:
            _log.error("the reload failed: %s", error)
            return
        if done.result == "unchanged":
            _log.info("the configuration has not changed")

    # -- reloads that begin here ------------------------------------------------------------------------------

    async def reload(self, is_taken: bool = False) -> Reloaded:
        """Reloads the cluster, or with ``is_taken`` puts this replica's file in force without the others. Raises
        ConfigurationRefused, Conflict, StateError.
        """
        async with self._reloading:
            before, loaded = self._part.settings, await self._own()
            seen = await self._in_force.call("hold")
            mine = meaning(loaded)
            is_in_force = (seen.digest, seen.fingerprint) == (mine.digest, mine.configuration.fingerprint)
            is_everywhere = all(replica.digest == mine.digest for replica in seen.replicas.values())
            if is_in_force and (is_everywhere or is_taken):
                seen = await self._converged(seen.version, is_news=False)
                self._counts["unchanged"] += 1
                return reloaded("unchanged", seen, [])
            seen = await self._propose(loaded, is_taken)
            version = seen.version if is_taken else seen.proposed_version
            try:
                async with asyncio.timeout(PREPARE_MS / 1000 + GRACE_S):
                    await self._verdict(version)
            except TimeoutError:
                raise StoreTimeout("the replicas did not decide in time") from None
            seen = await self._converged(version)
            return reloaded("applied", seen, changes(before, self._part.settings))

    async def _propose(self, loaded: Loaded, is_taken: bool) -> Agreement:
        """Proposes the file, or takes it. Raises Conflict, StateError."""
        async with self._checking:
            self._candidate, mine = loaded, meaning(loaded)
            file = (mine.digest, mine.configuration.fingerprint)
            if is_taken:
                seen = await self._in_force.call("take", *file)
                is_mine = seen.digest == mine.digest
            else:
                seen = await self._in_force.call("propose", *file, str(PREPARE_MS))
                is_mine, self._answered = seen.proposed_digest == mine.digest, seen.proposed_version
            if not is_mine:
                self._answered = 0
                raise Conflict(f"Replica {seen.proposed_by} is reloading another file now.", code="reload_in_progress")
            return seen

    async def _own(self) -> Loaded:
        """Reads and checks this replica's file. Raises ConfigurationRefused."""
        try:
            loaded = await self._read()
            problems = tuple(restart_problems(self._part.settings, loaded.settings, self._places))
        except ConfigurationError as error:
            problems = error.problems
        if problems:
            self._count_refusal({self._name: problems})
            raise refusal({self._name: problems})
        return loaded

    async def _read(self) -> Loaded:
        """Reads the file in a thread: a long one must not delay requests. Raises ConfigurationError."""
        loaded = await asyncio.to_thread(self._file.read)
        self._learn(loaded.settings)
        return loaded

    async def _verdict(self, version: int) -> None:
        """Returns once the version is committed. Raises ConfigurationRefused, StateError."""
        polls = 0
        while True:
            seen = await self._in_force.call("hold" if polls % REMIND_EVERY else "remind")
            if seen.version >= version:
                return
            if seen.phase != "prepare" or seen.proposed_version != version:
                self._note(seen)
                raise refusal(objections(seen))
            polls += 1
            await asyncio.sleep(POLL_S)

    async def _converged(self, version: int, is_news: bool = True) -> Agreement:
        """Waits until the store has the version and, if ``is_news``, replicas run it or are late. Raises StateError."""
        loop = asyncio.get_running_loop()
        until = loop.time() + CONVERGE_S
        while True:
            with contextlib.suppress(StateError):  # it is committed: this replica may take it later
                await self._check()
            seen = await self._in_force.call("hold")
            is_held = seen.is_held and self.version >= version
            is_late = loop.time() > until
            if is_held and (
                is_late or not is_news or all(replica.version >= version for replica in seen.replicas.values())
            ):
                return seen
            if is_late:
                raise StoreTimeout("the store does not hold the policies of the configuration in force yet")
            await asyncio.sleep(POLL_S)

    async def in_force(self) -> InForce:
        """Returns the configuration in force and who runs it. Raises StateError."""
        return in_force_of(await self._in_force.call("hold"))

    # -- reloads that begin at any replica ----------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._pause_s())
            self._woken.clear()
            try:
                await self._check()
            except StateError as error:
                _log.debug("the configuration in force cannot be read: %s", error)
                await asyncio.sleep(POLL_S)

    def _pause_s(self) -> float:
        if self._answered:
            return 2 * POLL_S
        return POLL_EVERY_S if self._in_force.is_mine else POLL_SOON_S

    async def _check(self) -> Agreement:
        """Reads the agreement in the store, answers a proposal, and takes the configuration in force."""
        async with self._checking:
            seen = await self._in_force.call("hold")
            if seen.phase == "prepare" and not seen.replicas[self._name].answer:
                seen = await self._answer(seen)
            self._note(seen)
            if await self._follow(seen):
                seen = await self._in_force.call("hold")
            self._part.apply()
            return seen

    async def _answer(self, seen: Agreement) -> Agreement:
        problems: tuple[Problem, ...] = ()
        try:
            loaded = await self._read()
            if loaded.digest != seen.proposed_digest:
                problems = (Problem("", f"the file of this replica differs ({loaded.digest})"),)
            else:
                problems = tuple(restart_problems(self._part.settings, loaded.settings, self._places))
                self._candidate = loaded
        except ConfigurationError as error:
            problems = error.problems
        self._answered = seen.proposed_version
        words = msgspec.json.encode(problems).decode() if problems else READY
        return await self._in_force.call("answer", str(seen.proposed_version), words)

    def _note(self, seen: Agreement) -> None:
        """Counts a refusal once a proposal that this replica has answered is decided."""
        if not self._answered or (seen.phase == "prepare" and seen.proposed_version == self._answered):
            return
        version, self._answered = self._answered, 0
        if seen.version < version:
            self._count_refusal(objections(seen))

    def _count_refusal(self, problems: dict[str, tuple[Problem, ...]]) -> None:
        self._counts["refused"] += 1
        reasons = "; ".join(f"{name}: {problem}" for name, found in problems.items() for problem in found)
        _log.error("a new configuration was refused, the old one stays: %s", reasons)

    async def _follow(self, seen: Agreement) -> bool:
        """Takes the configuration in force. Returns False if this replica serves by it already."""
        if seen.digest != self._in_force.file.digest and self._examined != seen.version:
            if self._candidate is None or self._candidate.digest != seen.digest:
                self._candidate = await self._found(seen)
            if self._candidate is None:
                self._examined = seen.version
            else:
                self._changed = changes(self._part.settings, self._candidate.settings)
                self._part.change(self._candidate)
                self._candidate = None
        is_news, changed = await self._in_force.follow(seen), self._changed
        if changed is not None:
            self._changed = None
            self._taken(seen.digest, changed)
        return is_news or changed is not None

    async def _found(self, seen: Agreement) -> Loaded | None:
        """Reads this replica's file, which may have changed. Returns it if it is the one in force and can be taken."""
        try:
            loaded = await self._read()
            if loaded.digest == seen.digest and not restart_problems(
                self._part.settings, loaded.settings, self._places
            ):
                return loaded
            reason = f"{loaded.digest} here"
        except ConfigurationError as error:
            reason = str(error)
        if seen.fingerprint == self._in_force.file.configuration.fingerprint:  # otherwise `Participation` logs it
            _log.warning(
                "the other replicas run configuration %d (%s), this one does not: %s", seen.version, seen.digest, reason
            )
        return None

    def _taken(self, digest: str, changed: list[str]) -> None:
        self._places.note(self._part.settings)
        self._counts["applied"] += 1
        _log.info("configuration %d (%s) is in use: %s", self.version, digest, ", ".join(changed) or "the same")
