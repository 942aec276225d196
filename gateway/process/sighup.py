"""SIGHUP has two meanings: a terminal that closes, which ends what was started in it, and somebody who wants the
configuration to be read again. After the first there is no terminal any more.
"""

import asyncio
import os
import signal
from collections.abc import Callable


def block() -> None:
    """In a process that is about to begin: it hears then what comes before it listens."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


class HangUp:
    """Listens from when it is made inside a running loop. ``end``: for a terminal that closes; with nohup that is
    ignored. Until somebody attends, a reload that is wanted waits.
    """

    def __init__(self, end: Callable[[], object]) -> None:
        self._end = end
        self._reload: Callable[[], object] | None = None
        self._is_wanted = False
        self._may_end = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        self._had_terminal = _has_terminal()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._heard)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def attend(self, reload: Callable[[], object]) -> None:
        self._reload = reload
        if self._is_wanted:
            reload()

    def _heard(self) -> None:
        if self._had_terminal and not _has_terminal():
            self._had_terminal = False
            if self._may_end:
                self._end()
        elif self._reload is not None:
            self._reload()
        else:
            self._is_wanted = True


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
