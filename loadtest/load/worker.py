"""The command `python -m loadtest.load.worker`: one of the processes that share a load. `loadtest.load.crew` starts and
ends it.

It reads its share from standard input and sends messages on standard output, in frames: four bytes of length, then
msgpack. When its input ends, so does its run, because its parent may have died.
"""

import asyncio
import contextlib
import signal
import sys

import msgspec
import uvloop

from loadtest.load.flags import Options
from loadtest.load.open_files import allow_many
from loadtest.load.runner import Result
from loadtest.load.share import ProcessShare, ignore, render_sample

REPORT_S = 0.5


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker is warm and waits for Begin."""


class Begin(msgspec.Struct, frozen=True):
    """To the worker. All processes of a machine share its monotonic clock."""

    at_s: float


class Progress(msgspec.Struct, frozen=True, tag=True):
    ok: int = 0
    failed: int = 0
    under_way: int = 0


class Line(msgspec.Struct, frozen=True, tag=True):
    """A line to print."""

    text: str


class Done(msgspec.Struct, frozen=True, tag=True):
    result: Result


Message = Ready | Progress | Line | Done


def frame(message: msgspec.Struct) -> bytes:
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(4, "big") + data


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Returns the content of the next frame. Raises asyncio.IncompleteReadError at the end."""
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))


def send(message: Message) -> None:
    sys.stdout.buffer.write(frame(message))
    sys.stdout.buffer.flush()


async def work() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    options = msgspec.msgpack.decode(await read_frame(reader), type=Options)
    observe = (lambda sample: send(Line(render_sample(sample)))) if options.is_verbose else ignore
    async with ProcessShare(options, observe) as share:
        working = asyncio.create_task(_work(share, reader))
        with contextlib.suppress(asyncio.CancelledError, asyncio.IncompleteReadError):
            await working
        send(Done(share.runner.result()))


async def _work(share: ProcessShare, reader: asyncio.StreamReader) -> None:
    """Runs the share. Raises IncompleteReadError if the input ends before Begin."""
    begin = asyncio.create_task(read_frame(reader))
    await _until(asyncio.create_task(share.warm_up()), begin)
    send(Ready())
    at_s = msgspec.msgpack.decode(await begin, type=Begin).at_s
    reporting = asyncio.create_task(_report_progress(share))
    try:
        await _until(asyncio.create_task(share.measure(at_s)), asyncio.create_task(reader.read()))
    finally:
        reporting.cancel()


async def _until(doing: asyncio.Task[None], end: asyncio.Task[bytes]) -> None:
    """Waits for ``doing``; cancels it when ``end`` comes first."""
    await asyncio.wait([doing, end], return_when=asyncio.FIRST_COMPLETED)
    if not doing.done():
        doing.cancel()
        await asyncio.wait([doing])
        return
    await doing


async def _report_progress(share: ProcessShare) -> None:
    runner = share.runner
    while True:
        await asyncio.sleep(REPORT_S)
        send(Progress(runner.measurement.ok, runner.measurement.failed, runner.unfinished))


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes; the crew ends its workers
    allow_many()
    with contextlib.suppress(BrokenPipeError):
        uvloop.run(work())


if __name__ == "__main__":
    main()
