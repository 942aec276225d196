"""Background tasks: none ends unseen, and one that must last is begun again."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from shared_state import background
from shared_state.background import PAUSE_FIRST_S, PAUSE_MOST_S, Kept, once
from tests.support.stores import eventually, on_loop

Work = Callable[[], Coroutine[Any, Any, None]]


class Runs:
    """Work that ends as it is told, once for each ending, and lasts after that."""

    def __init__(self, *endings: Exception | None) -> None:
        self._endings = list(endings)
        self.began_s: list[float] = []

    async def __call__(self) -> None:
        self.began_s.append(asyncio.get_running_loop().time())
        if not self._endings:
            await asyncio.Event().wait()
        ending = self._endings.pop(0)
        await asyncio.sleep(0)
        if ending is not None:
            raise ending

    @property
    def pauses_s(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.began_s, self.began_s[1:], strict=False)]


@pytest.mark.parametrize("ending", [ValueError("a defect"), None], ids=["raises", "returns"])
@on_loop
async def test_work_that_ends_is_reported_and_begun_again(
    caplog: pytest.LogCaptureFixture, ending: Exception | None
) -> None:
    before, runs = background.failures["heart"], Runs(ending)
    kept = Kept("heart", runs)
    await eventually(lambda: len(runs.began_s) == 2)
    await kept.stop()
    (record,) = caplog.records

    assert background.failures["heart"] == before + 1
    assert record.levelname == "ERROR"
    assert "task 'heart' failed" in record.getMessage()
    assert record.exc_info is not None
    assert str(ending or "the task has returned") in str(record.exc_info[1])


@on_loop
async def test_work_that_is_cancelled_by_anybody_else_is_begun_again() -> None:
    before, runs = background.failures["heart"], Runs()
    kept = Kept("heart", runs)
    await eventually(lambda: len(runs.began_s) == 1)
    next(task for task in asyncio.all_tasks() if task.get_name() == "heart").cancel()
    await eventually(lambda: len(runs.began_s) == 2)
    await kept.stop()

    assert background.failures["heart"] == before + 1


@on_loop
async def test_pauses_grow_and_are_bounded() -> None:
    runs = Runs(*[ValueError()] * 2)
    kept = Kept("heart", runs)
    await eventually(lambda: len(runs.began_s) == 3)
    await kept.stop()

    assert runs.pauses_s[0] >= PAUSE_FIRST_S
    assert runs.pauses_s[1] >= 2 * PAUSE_FIRST_S
    assert PAUSE_MOST_S < 5, "others take a replica for dead"


@pytest.mark.parametrize("endings", [(), (ValueError(),)], ids=["running", "between two runs"])
@on_loop
async def test_stopped_work_is_not_begun_again_and_no_failure(
    caplog: pytest.LogCaptureFixture, endings: tuple[Exception, ...]
) -> None:
    runs = Runs(*endings)
    kept = Kept("heart", runs)
    await eventually(lambda: len(caplog.records) == len(endings) and bool(runs.began_s))
    await kept.stop()
    await asyncio.sleep(0)

    assert len(runs.began_s) == 1
    assert len(caplog.records) == len(endings)
    assert kept.is_over
    assert "heart" not in {task.get_name() for task in asyncio.all_tasks()}


@on_loop
async def test_work_that_is_no_longer_wanted_may_end(caplog: pytest.LogCaptureFixture) -> None:
    wanted, runs = [True], Runs(None, None)

    def is_wanted() -> bool:
        return len(runs.began_s) < 2 and wanted[0]

    kept = Kept("feed", runs, is_wanted)
    await eventually(lambda: kept.is_over)

    assert len(runs.began_s) == 2
    assert caplog.records == []


@on_loop
async def test_work_that_fails_while_it_is_wanted_is_begun_again(caplog: pytest.LogCaptureFixture) -> None:
    runs = Runs(ValueError())
    kept = Kept("feed", runs, lambda: True)
    await eventually(lambda: len(runs.began_s) == 2)
    await kept.stop()

    assert len(caplog.records) == 1


@on_loop
async def test_single_task_that_raises_is_reported_unless_that_is_expected(caplog: pytest.LogCaptureFixture) -> None:
    before = background.failures["errand"]
    tasks = [
        once("errand", Runs(ValueError("a defect"))()),
        once("errand", Runs(KeyError("expected"))(), expected=LookupError),
        once("errand", Runs(None)()),
        once("errand", Runs()()),
    ]
    tasks[-1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert background.failures["errand"] == before + 1
    assert [record.getMessage() for record in caplog.records] == ["task 'errand' failed: ValueError('a defect')"]


@on_loop
async def test_what_the_event_loop_catches_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    before = background.failures["event loop"]
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(background.report_of_loop)
    loop.call_soon(int, "no number")
    await eventually(lambda: background.failures["event loop"] == before + 1)

    assert any(record.levelname == "ERROR" for record in caplog.records)
