"""A new configuration while running, taken by all replicas or by none.

Whoever is asked reads its own file and proposes its digest in the store; each replica reads its file, checks it and
answers; the store commits when all that live are ready. News of each step come through the store; who misses them looks
for himself. A replica that was away takes what is in force when it is back, if its file is that one.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

import msgspec

from gateway.configuration_changes import Places, changes, restart_problems
from gateway.configuration_file import ConfigurationFile, Loaded
from gateway.errors import ConfigurationRefused, Conflict
from gateway.reload_answers import PREPARE_MS, READY, InForce, Reloaded, in_force_of, objections, refusal, reloaded
from gateway.settings import ConfigurationError, Settings
from gateway.yaml_source import Problem
from shared_state.background import Kept, once
from shared_state.errors import StateError, StoreTimeout
from shared_state.script_calls import Consent
from shared_state.snapshots import Agreement, Running
from shared_state.store import Store

GRACE_S = 2.0
LOOK_EVERY_S = 2.0  # for whoever has not heard the news
POLL_S, REMIND_EVERY = 0.05, 8
CONVERGE_S = 5.0
TRIES = 5  # a store that is busy for a moment must not refuse a configuration

_log = logging.getLogger("pllm.configuration")

Adopt = Callable[[Settings, int], Awaitable[None]]


class Reloader:
    """``adopt`` puts settings to use from now on; ``learn`` hears of every configuration before anything is said of it;
    ``counts``: how reloads ended at this replica.
    """

    def __init__(
        self,
        file: ConfigurationFile,
        loaded: Loaded,
        version: int,
        store: Store,
        adopt: Adopt,
        learn: Callable[[Settings], None],
    ) -> None:
        self._file = file
        self._store = store
        self._name = store.memory.replica
        self._adopt = adopt
        self._learn = learn
        self.running = Running(version, loaded.digest)
        self.counts: Counter[str] = Counter(dict.fromkeys(("applied", "refused", "unchanged"), 0))
        self._settings, self._places = loaded.settings, Places(loaded.settings)
        self._candidate: Loaded | None = None
        self._answered = 0  # the version of a proposal that is not decided yet
        self._examined = 0  # a version in force that this replica's file is not
        self._woken = asyncio.Event()
        self._looking, self._asking = asyncio.Lock(), asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: Kept | None = None

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

    async def reload(self) -> Reloaded:
        """Raises ConfigurationRefused, Conflict, StateError."""
        async with self._asking:
            before, loaded = self._settings, await self._own()
            seen = await self._ask("hold")
            if all(each.digest == loaded.digest for each in seen.replicas.values()) and seen.digest == loaded.digest:
                self.counts["unchanged"] += 1
                return reloaded("unchanged", seen, [])
            seen = await self._propose(loaded)
            try:
                async with asyncio.timeout(PREPARE_MS / 1000 + GRACE_S):
                    await self._verdict(seen.proposed_version)
            except TimeoutError:
                raise StoreTimeout("the replicas have not decided in time") from None
            seen = await self._converged(seen.proposed_version)
            return reloaded("applied", seen, changes(before, self._settings))

    async def _propose(self, loaded: Loaded) -> Agreement:
        """Raises Conflict, StateError."""
        async with self._looking:
            self._candidate = loaded
            seen = await self._ask("propose", loaded.digest, str(PREPARE_MS))
            if seen.proposed_digest != loaded.digest:
                raise Conflict(f"Replica {seen.proposed_by} is just reloading another file.", code="reload_in_progress")
            self._answered = seen.proposed_version
            return seen

    async def _own(self) -> Loaded:
        """Raises ConfigurationRefused."""
        try:
            loaded = await self._read()
            problems = tuple(restart_problems(self._settings, loaded.settings, self._places))
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
            seen = await self._ask("hold" if looks % REMIND_EVERY else "remind")
            if seen.version >= version:
                return
            if seen.phase != "prepare" or seen.proposed_version != version:
                self._note(seen)
                raise refusal(objections(seen))
            looks += 1
            await asyncio.sleep(POLL_S)

    async def _converged(self, version: int) -> Agreement:
        loop = asyncio.get_running_loop()
        until = loop.time() + CONVERGE_S
        while True:
            with contextlib.suppress(StateError):  # it is committed: whoever cannot take it now is told later
                await self._look()
            seen = await self._ask("hold")
            if all(each.version >= version for each in seen.replicas.values()) or loop.time() > until:
                return seen
            await asyncio.sleep(POLL_S)

    async def in_force(self) -> InForce:
        """Raises StateError."""
        return in_force_of(await self._ask("hold"))

    # -- by whomever it was asked for -------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), 2 * POLL_S if self._answered else LOOK_EVERY_S)
            self._woken.clear()
            try:
                await self._look()
            except StateError as error:
                _log.debug("the configuration in force cannot be asked for: %s", error)
                await asyncio.sleep(POLL_S)

    async def _look(self) -> Agreement:
        """Answers what is proposed, takes what is in force."""
        async with self._looking:
            seen = await self._ask("hold")
            if seen.phase == "prepare" and not seen.replicas[self._name].answer:
                seen = await self._answer(seen)
            self._note(seen)
            if await self._follow(seen):
                seen = await self._ask("hold")
            return seen

    async def _answer(self, seen: Agreement) -> Agreement:
        problems: tuple[Problem, ...] = ()
        try:
            loaded = await self._read()
            if loaded.digest != seen.proposed_digest:
                problems = (Problem("", f"the file of this replica is another one ({loaded.digest})"),)
            else:
                problems = tuple(restart_problems(self._settings, loaded.settings, self._places))
                self._candidate = loaded
        except ConfigurationError as error:
            problems = error.problems
        self._answered = seen.proposed_version
        words = msgspec.json.encode(problems).decode() if problems else READY
        return await self._ask("answer", str(seen.proposed_version), words)

    def _note(self, seen: Agreement) -> None:
        """A proposal that this replica has answered may have been decided."""
        if not self._answered or (seen.phase == "prepare" and seen.proposed_version == self._answered):
            return
        version, self._answered = self._answered, 0
        if seen.version < version:
            self._count_refusal(objections(seen))

    def _count_refusal(self, problems: dict[str, tuple[Problem, ...]]) -> None:
        self.counts["refused"] += 1
        told = "; ".join(f"{name}: {each}" for name, found in problems.items() for each in found)
        _log.error("a new configuration was refused, the old one stays: %s", told)

    async def _follow(self, seen: Agreement) -> bool:
        """Takes what is in force; False when this replica runs it, or cannot."""
        if seen.digest == self.running.digest:
            is_news = self.running.version != seen.version
            self.running = Running(seen.version, seen.digest, has_agreed=True)
            return is_news
        if self._examined == seen.version:
            return False
        if self._candidate is None or self._candidate.digest != seen.digest:
            self._candidate = await self._found(seen)
        if self._candidate is None:
            self._examined = seen.version
            return False
        await self._take(self._candidate, seen.version)
        return True

    async def _found(self, seen: Agreement) -> Loaded | None:
        """This replica's file, if it is the one in force: it has changed since it was read."""
        try:
            loaded = await self._read()
            if loaded.digest == seen.digest and not restart_problems(self._settings, loaded.settings, self._places):
                return loaded
            reason = f"{loaded.digest} here"
        except ConfigurationError as error:
            reason = str(error)
        _log.warning(
            "the others run configuration %d (%s), this replica does not: %s", seen.version, seen.digest, reason
        )
        return None

    async def _take(self, candidate: Loaded, version: int) -> None:
        changed = changes(self._settings, candidate.settings)
        await self._adopt(candidate.settings, version)
        self._settings, self.running = candidate.settings, Running(version, candidate.digest, has_agreed=True)
        self._candidate = None
        self._places.note(candidate.settings)
        self.counts["applied"] += 1
        _log.info("configuration %d (%s) is in use: %s", version, candidate.digest, ", ".join(changed) or "the same")

    async def _ask(self, what: Consent, *more: str) -> Agreement:
        """Raises StateError."""
        for _ in range(TRIES - 1):
            try:
                return await self._store.reload(what, self.running, *more)
            except StoreTimeout:
                await asyncio.sleep(POLL_S)
        return await self._store.reload(what, self.running, *more)
