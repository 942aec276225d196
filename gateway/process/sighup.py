"""SIGHUP has two meanings: the terminal closes, which ends the programs that were started in it, or an operator wants
the configuration to be read again. A process that has lost its terminal has received the first.
"""

import asyncio
import os
import signal
from collections.abc import Callable


def block() -> None:
    """Blocks SIGHUP in a process that is about to begin: signals wait until `HangUp` unblocks them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


class HangUp:
    """Handles SIGHUP from its construction in a running loop. Calls ``end`` when the terminal closes, unless nohup had
    SIGHUP ignored. A reload that is requested before `attend` waits for it.
    """

    def __init__(self, end: Callable[[], object]) -> None:
        self._end = end
        self._reload: Callable[[], object] | None = None
        self._is_wanted = False
        self._may_end = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        self._had_terminal = _has_terminal()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._received)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})

    def attend(self, reload: Callable[[], object]) -> None:
        """Calls ``reload`` for each request to reload, also for one that is waiting."""
        self._reload = reload
        if self._is_wanted:
            reload()

    def _received(self) -> None:
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
