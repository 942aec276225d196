"""A new configuration while running, taken by all replicas or by none.

Whoever is asked reads its own file and proposes its digest in the store; each replica reads its file, checks it and
answers; the store commits when all that live are ready. News of each step come through the store; who misses them looks
for himself. A replica that was away takes what is in force when it is back, if its file is that one. With `take` a
replica puts its own file in force without the others.
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
LOOK_EVERY_S, LOOK_SOON_S = 2.0, 0.5  # for news that were missed; while this replica's file waits to be in force
POLL_S, REMIND_EVERY = 0.05, 8
CONVERGE_S = 5.0
Learn = Callable[[Settings], None]

_log = logging.getLogger("pllm.configuration")


class Reloader:
    """``name``: of this replica's life; ``learn`` hears of every configuration before anything is said of it, and
    raises ConfigurationError for one that does not fit the store's tenants; ``counts`` of `reload_counts`.
    """

    def __init__(
        self, file: ConfigurationFile, name: str, participation: Participation, learn: Learn, counts: Counter[str]
    ) -> None:
        self._file = file
        self._name = name
        self._part = participation
        self._in_force = participation.in_force
        self._learn = learn
        self._counts = counts
        self._places = Places(participation.settings)
        self._candidate: Loaded | None = None
        self._changed: list[str] | None = None  # by a file that was taken and whose policies are not yet in the store
        self._answered = 0  # the version of a proposal that is not decided yet
        self._examined = 0  # a version in force that this replica's file is not
        self._woken = asyncio.Event()
        self._looking, self._asking = asyncio.Lock(), asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: Kept | None = None

    @property
    def version(self) -> int:
        """Of the configuration that this replica serves by."""
        return self._in_force.version

    @property
    def is_behind(self) -> bool:
        """The file of this replica is not in force."""
        return self._in_force.is_behind

    @property
    def is_ready(self) -> bool:
        """This replica can serve by the configuration in force."""
        return self._part.is_ready

    async def start(self) -> None:
        """Before anybody is served: what the others have agreed on, if the store can be asked."""
        with contextlib.suppress(StateError):
            await self._look()
        self._kept = Kept("reloader", self._run)

    async def stop(self) -> None:
        if self._kept is not None:
            await self._kept.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def heard(self) -> None:
        """Something happened."""
        self._woken.set()

    def request(self) -> None:
        """As `reload`, for somebody who does not wait for the answer: it is in the log."""
        task = once("reload", self._requested())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _requested(self) -> None:
        try:
            done = await self.reload()
        except ConfigurationRefused:
            return  # logged where it was found
        except (Conflict, StateError) as error:
            _log.error("no reload: %s", error)
            return
        if done.result == "unchanged":
            _log.info("the configuration has not changed")

    # -- asked for here ---------------------------------------------------------------------------------------

    async def reload(self, is_taken: bool = False) -> Reloaded:
        """``is_taken``: without the others. Raises ConfigurationRefused, Conflict, StateError."""
        async with self._asking:
            before, loaded = self._part.settings, await self._own()
            seen = await self._in_force.call("hold")
            mine = meaning(loaded)
            is_in_force = (seen.digest, seen.fingerprint) == (mine.digest, mine.configuration.fingerprint)
            is_everywhere = all(each.digest == mine.digest for each in seen.replicas.values())
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
                raise StoreTimeout("the replicas have not decided in time") from None
            seen = await self._converged(version)
            return reloaded("applied", seen, changes(before, self._part.settings))

    async def _propose(self, loaded: Loaded, is_taken: bool) -> Agreement:
        """Raises Conflict, StateError."""
        async with self._looking:
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
                raise Conflict(f"Replica {seen.proposed_by} is just reloading another file.", code="reload_in_progress")
            return seen

    async def _own(self) -> Loaded:
        """Raises ConfigurationRefused."""
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
        """Raises ConfigurationError. In a thread: a long file must not hold up requests."""
        loaded = await asyncio.to_thread(self._file.read)
        self._learn(loaded.settings)
        return loaded

    async def _verdict(self, version: int) -> None:
        """Returns when it is committed. Raises ConfigurationRefused, StateError."""
        looks = 0
        while True:
            seen = await self._in_force.call("hold" if looks % REMIND_EVERY else "remind")
            if seen.version >= version:
                return
            if seen.phase != "prepare" or seen.proposed_version != version:
                self._note(seen)
                raise refusal(objections(seen))
            looks += 1
            await asyncio.sleep(POLL_S)

    async def _converged(self, version: int, is_news: bool = True) -> Agreement:
        """Returns when the store holds the policies of that version and, where they are news, the replicas serve by
        them or are late. Raises StateError.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + CONVERGE_S
        while True:
            with contextlib.suppress(StateError):  # it is committed: whoever cannot take it now is told later
                await self._look()
            seen = await self._in_force.call("hold")
            is_held = seen.is_held and self.version >= version
            is_late = loop.time() > until
            if is_held and (is_late or not is_news or all(each.version >= version for each in seen.replicas.values())):
                return seen
            if is_late:
                raise StoreTimeout("the store does not hold the policies of the configuration in force yet")
            await asyncio.sleep(POLL_S)

    async def in_force(self) -> InForce:
        """Raises StateError."""
        return in_force_of(await self._in_force.call("hold"))

    # -- by whomever it was asked for -------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._pause_s())
            self._woken.clear()
            try:
                await self._look()
            except StateError as error:
                _log.debug("the configuration in force cannot be asked for: %s", error)
                await asyncio.sleep(POLL_S)

    def _pause_s(self) -> float:
        if self._answered:
            return 2 * POLL_S
        return LOOK_EVERY_S if self._in_force.is_mine else LOOK_SOON_S

    async def _look(self) -> Agreement:
        """Answers what is proposed, takes what is in force."""
        async with self._looking:
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
                problems = (Problem("", f"the file of this replica is another one ({loaded.digest})"),)
            else:
                problems = tuple(restart_problems(self._part.settings, loaded.settings, self._places))
                self._candidate = loaded
        except ConfigurationError as error:
            problems = error.problems
        self._answered = seen.proposed_version
        words = msgspec.json.encode(problems).decode() if problems else READY
        return await self._in_force.call("answer", str(seen.proposed_version), words)

    def _note(self, seen: Agreement) -> None:
        """A proposal that this replica has answered may have been decided."""
        if not self._answered or (seen.phase == "prepare" and seen.proposed_version == self._answered):
            return
        version, self._answered = self._answered, 0
        if seen.version < version:
            self._count_refusal(objections(seen))

    def _count_refusal(self, problems: dict[str, tuple[Problem, ...]]) -> None:
        self._counts["refused"] += 1
        told = "; ".join(f"{name}: {each}" for name, found in problems.items() for each in found)
        _log.error("a new configuration was refused, the old one stays: %s", told)

    async def _follow(self, seen: Agreement) -> bool:
        """Takes what is in force; False when this replica serves by it already."""
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
        """This replica's file, if it is the one in force: it has changed since it was read."""
        try:
            loaded = await self._read()
            if loaded.digest == seen.digest and not restart_problems(
                self._part.settings, loaded.settings, self._places
            ):
                return loaded
            reason = f"{loaded.digest} here"
        except ConfigurationError as error:
            reason = str(error)
        if seen.fingerprint == self._in_force.file.configuration.fingerprint:  # else it is logged as behind
            _log.warning(
                "the others run configuration %d (%s), this replica does not: %s", seen.version, seen.digest, reason
            )
        return None

    def _taken(self, digest: str, changed: list[str]) -> None:
        self._places.note(self._part.settings)
        self._counts["applied"] += 1
        _log.info("configuration %d (%s) is in use: %s", self.version, digest, ", ".join(changed) or "the same")
