"""Who is whose child, read from /proc: no program is needed for it."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path


def parents() -> Iterator[tuple[int, int]]:
    """Yields the pid of each process and of its parent."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield int(folder.name), int(re.search(r"PPid:\s+(\d+)", (folder / "status").read_text())[1])  # type: ignore[index]


def children(parent: int, words: str = "") -> list[int]:
    """Returns the pids of a process's children whose command line holds ``words``."""
    return sorted(pid for pid, its_parent in parents() if its_parent == parent and words in command_line(pid))


def command_line(pid: int) -> str:
    """Its words with blanks between; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
