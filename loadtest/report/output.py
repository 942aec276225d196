"""Standard output, which may be closed or full at any moment: whoever reads it may have left."""

import os
import sys
from collections.abc import Callable


class Output:
    def __init__(self) -> None:
        self.is_lost = False
        self.when_lost: Callable[[], object] = lambda: None
        """Called once, when the first line cannot be written."""

    def print(self, text: str) -> None:
        """At once; nothing more after a line that could not be written."""
        if self.is_lost:
            return
        try:
            print(text + "\n", end="", flush=True)
        except OSError as error:
            self.is_lost = True
            _write_nowhere()
            if not isinstance(error, BrokenPipeError):  # `| head` is no trouble
                print(f"Standard output cannot be written: {error}", file=sys.stderr)
            self.when_lost()


def _write_nowhere() -> None:
    """What is left in the buffer would be tried once more at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def open_standard_streams() -> None:
    """Those that are closed lead nowhere: the next socket would take their number, and get what is printed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
