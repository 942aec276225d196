"""Log lines: JSON where a program reads them, plain text on a terminal.

A separate thread writes them from a bounded queue, which drops the excess and logs how much was dropped: the reader of
the pipe may stall, and no request may wait for it.
"""

import contextlib
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

import msgspec

from gateway.configuration.redaction import Redaction

WAITING_MOST = 20_000  # lines not yet written
PIPE_WHOLE = 4096  # bytes: POSIX's PIPE_BUF on Linux
PAUSE_S = 0.05  # between two writes: many lines go out as one
CLOSE_MOST_S = 1.0
_MS = [f".{ms:03d}Z" for ms in range(1000)]


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def timestamp(at_s: float) -> str:
    """Returns a Unix time as RFC 3339 in UTC, with milliseconds."""
    whole = int(at_s)
    return _second(whole) + _MS[int((at_s - whole) * 1000)]


def _parts(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yields whole lines in parts that a pipe accepts atomically: several processes may share one pipe."""
    part = b""
    for line in lines:
        if part and len(part) + len(line) >= PIPE_WHOLE:
            yield part
            part = b""
        part += line + b"\n"
    if part:
        yield part


class Sink(Protocol):
    """A place for bytes."""

    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> object: ...


class AppendedFile:
    """Appends to a file. It opens the file anew for each write, so that log rotation may move it away at any time."""

    def __init__(self, path: str) -> None:
        """Raises OSError for a file that cannot be opened."""
        self._path = path
        self.write(b"")

    def write(self, data: bytes, /) -> None:
        with open(self._path, "ab", buffering=0) as file:
            file.write(data)

    def flush(self) -> None:
        """Does nothing: each write is flushed."""


class Lines:
    """Accepts lines at any rate and writes them as fast as the reader takes them. ``is_plain``: text for people."""

    def __init__(self, out: Sink, is_plain: bool) -> None:
        self._out = out
        self.is_plain = is_plain
        self._waiting: deque[bytes] = deque()
        self._is_wanted = threading.Event()
        self._is_closing = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        if len(self._waiting) >= WAITING_MOST:
            self.dropped += 1
            return
        self._waiting.append(line)
        if not self._is_wanted.is_set():  # far cheaper than setting it again
            self._is_wanted.set()

    def _write(self) -> None:
        while not self._is_closing or self._waiting:
            self._is_wanted.wait()
            self._is_wanted.clear()
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if self.dropped:
                count, self.dropped = self.dropped, 0
                lines.append(msgspec.json.encode({"level": "warning", "message": f"{count} log lines dropped"}))
            try:
                for part in _parts(lines):
                    self._out.write(part)
                    self._out.flush()
            except (OSError, ValueError):  # the pipe has no reader any more
                self.dropped += len(lines)
            if not self._is_closing:
                time.sleep(PAUSE_S)

    def close(self) -> None:
        """Writes the remaining lines, but waits for one second at most."""
        self._is_closing = True
        self._is_wanted.set()
        self._thread.join(CLOSE_MOST_S)


class LineLogging(logging.Handler):
    """Turns Python's log records into lines."""

    def __init__(self, lines: Lines, redact: Redaction) -> None:
        super().__init__()
        self._lines = lines
        self._redact = redact

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self._redact(record.getMessage())
            traced = self._redact(logging.Formatter().formatException(record.exc_info)) if record.exc_info else ""
        except Exception:
            self.handleError(record)
            return
        level = record.levelname.lower()
        if self._lines.is_plain:
            text = f"{timestamp(record.created)} {level} {record.name} {message}" + (f"\n{traced}" if traced else "")
            self._lines.put(text.encode(errors="replace"))
            return
        fields = {"time": timestamp(record.created), "level": level, "logger": record.name, "message": message}
        self._lines.put(msgspec.json.encode(fields | ({"exception": traced} if traced else {})))


@contextlib.contextmanager
def written(redact: Redaction) -> Iterator[Lines]:
    """Sends all logging to stderr as lines within the block."""
    lines = Lines(sys.stderr.buffer, is_plain=sys.stderr.isatty())
    handler, root = LineLogging(lines, redact), logging.getLogger()
    before = root.handlers[:]
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        root.handlers[:] = before
        lines.close()
