"""The three standard streams, which the program that started this process may have closed."""

import os
import sys


def open_standard_streams() -> None:
    """Opens closed streams on /dev/null. Otherwise the next socket would take their number, and libuv ends a process
    that closes one of these numbers.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)  # None where the stream was closed
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
