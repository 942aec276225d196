"""The three streams that every process has, and that whoever starts one may have closed."""

import os
import sys


def open_standard_streams() -> None:
    """Those that are closed lead nowhere: the next socket would take their number, and libuv ends a process that closes
    one of these numbers.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)  # Python has none where there was nothing
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
