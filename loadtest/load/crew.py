"""Several processes that share one load and begin at the same moment; their measurements are added up exactly.

One Python process keeps one core busy at most. The workers end when the pipe to them closes, for any reason.
"""

import asyncio
import contextlib
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable

import msgspec

from loadtest.load.flags import Options
from loadtest.load.measure import Measurement
from loadtest.load.runner import Result
from loadtest.load.share import share_out
from loadtest.load.worker import Begin, Done, Line, Message, Progress, Ready, frame, read_frame

HEAD_START_S = 0.05  # for the start message to reach all workers
LAST_RESULTS_S = 10.0  # for the results of a run that was ended early


class Crew:
    def __init__(self, options: Options, show: Callable[[str], None] = print) -> None:
        """`show`: prints the lines that the workers send."""
        self._options, self._show = options, show
        self._progress = [Progress() for _ in range(options.processes)]
        self._results: list[Result] = []
        self.began_s: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        """When the measuring begins, on the monotonic clock; known once all are warm."""

    @property
    def progress(self) -> Progress:
        """The progress of all workers together."""
        counts = [msgspec.structs.astuple(progress) for progress in self._progress]
        return Progress(*(sum(column) for column in zip(*counts, strict=True)))

    async def run(self) -> None:
        """Runs the load. A cancellation ends it early, and `result` still has all measurements so far. When a process
        dies, `result` has those of the others. Raises SystemExit if none is left.
        """
        processes: list[Process] = []
        try:
            for _ in range(self._options.processes):
                command = (sys.executable, "-P", "-m", "loadtest.load.worker")
                processes.append(
                    await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, start_new_session=True)
                )
            await self._direct(processes)
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                await process.wait()

    def result(self) -> Result:
        whole = Result(Measurement(slo=self._options.slo), processes=0)
        for result in self._results:
            whole.merge(result)
        whole.missing = self._options.processes - whole.processes
        whole.processes = max(whole.processes, 1)  # without any result, when the run ended before it began
        return whole

    async def _direct(self, processes: list[Process]) -> None:
        for process, share in zip(processes, share_out(self._options), strict=True):
            _input(process).write(frame(share))
        ready = [asyncio.Event() for _ in processes]
        listening = asyncio.gather(
            *(self._listen(number, process, ready[number]) for number, process in enumerate(processes))
        )
        beginning = asyncio.create_task(self._begin(processes, ready))
        try:
            await asyncio.shield(listening)
            if not self._results:
                raise SystemExit("the load generator's processes ended before their run did")
        except asyncio.CancelledError:
            for process in processes:
                _input(process).close()
            _, silent = await asyncio.wait([listening], timeout=LAST_RESULTS_S)
            if silent:  # the results of the others are kept
                listening.cancel()
                await asyncio.wait([listening])
            with contextlib.suppress(asyncio.CancelledError):
                listening.result()
            raise
        finally:
            beginning.cancel()

    async def _begin(self, processes: list[Process], ready: list[asyncio.Event]) -> None:
        for event in ready:
            await event.wait()
        began_s = time.monotonic() + HEAD_START_S
        for process in processes:
            _input(process).write(frame(Begin(began_s)))
        self.began_s.set_result(began_s)

    async def _listen(self, number: int, process: Process, ready: asyncio.Event) -> None:
        assert process.stdout is not None
        while True:
            try:
                message = msgspec.msgpack.decode(await read_frame(process.stdout), type=Message)
            except asyncio.IncompleteReadError:
                ready.set()  # the others must not wait for it
                return
            match message:
                case Ready():
                    ready.set()
                case Progress():
                    self._progress[number] = message
                case Line():
                    self._show(message.text)
                case Done():
                    self._results.append(message.result)
                    return


def _input(process: Process) -> asyncio.StreamWriter:
    assert process.stdin is not None
    return process.stdin
