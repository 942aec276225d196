"""Standard output, which may be closed or full at any moment, because its reader may have ended."""

import os
import sys
from collections.abc import Callable


class Output:
    """Prints lines until one cannot be written."""

    def __init__(self) -> None:
        self.is_lost = False
        self.when_lost: Callable[[], object] = lambda: None
        """Called once, when the first line cannot be written."""

    def print(self, text: str) -> None:
        """Prints at once; does nothing after a line that could not be written."""
        if self.is_lost:
            return
        try:
            print(text + "\n", end="", flush=True)
        except OSError as error:
            self.is_lost = True
            _write_nowhere()
            if not isinstance(error, BrokenPipeError):  # `| head` is not an error
                print(f"Standard output cannot be written: {error}", file=sys.stderr)
            self.when_lost()


def _write_nowhere() -> None:
    """Redirects standard output to nowhere: Python would write the rest of the buffer again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def open_standard_streams() -> None:
    """Opens closed standard streams to nowhere: the next socket would take their number and receive printed lines."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
