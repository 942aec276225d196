"""Stands between a gateway and its store and keeps what the gateway sends, one item per write: a pipeline is one item,
so items are round trips as the store sees them.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

from shared_state.embedded import EmbeddedStore
from shared_state.scripts import assemble_all

HEARTBEAT = ("beat", "reap", "reload")


class StoreProxy:
    """``url`` is what a gateway is configured with."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self._names = {script.function.encode(): script.name for script in assemble_all().values()}
        self._path = store.folder / "proxy.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []
        self._sent: list[bytes] = []
        self._lost = ""
        self._dribble_s = 0.0
        self._is_open = threading.Event()
        self._is_open.set()
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"unix://{self._path}"

    def forget(self) -> None:
        self._sent.clear()

    def round_trips(self) -> list[list[str]]:
        """The scripts called in each round trip, without what heartbeats and looks for a new configuration call."""
        calls = [self._scripts(item) for item in list(self._sent)]
        return [names for names in calls if names]

    def _scripts(self, item: bytes) -> list[str]:
        words = item.split(b"\r\n")
        return [self._names[word] for word in words if self._names.get(word, "beat") not in HEARTBEAT]

    @contextlib.contextmanager
    def hung(self) -> Iterator[None]:
        """Meanwhile nothing reaches the store."""
        self._is_open.clear()
        try:
            yield
        finally:
            self._is_open.set()

    @contextlib.contextmanager
    def dribbling(self, every_s: float) -> Iterator[None]:
        """Meanwhile replies come byte by byte."""
        self._dribble_s = every_s
        try:
            yield
        finally:
            self._dribble_s = 0.0

    @contextlib.contextmanager
    def losing(self, script: str) -> Iterator[None]:
        """Meanwhile no call of this script reaches the store, nor what follows it on its connection."""
        self._lost = script
        try:
            yield
        finally:
            self._lost = ""

    def close(self) -> None:
        self._is_open.set()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._sockets:
            each.close()
        self._path.unlink()

    def _start(self, target: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, args=arguments, name="store proxy", daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                gateway, _ = self._listener.accept()
                store = socket.socket(socket.AF_UNIX)
                store.connect(str(self._store.socket))
                self._sockets += [gateway, store]
                self._start(self._forward, gateway, store)
                self._start(self._return, store, gateway)

    def _forward(self, gateway: socket.socket, store: socket.socket) -> None:
        is_lost = False
        with contextlib.suppress(OSError):
            while data := gateway.recv(1_048_576):
                self._sent.append(data)
                self._is_open.wait()
                is_lost = is_lost or self._lost in self._scripts(data)
                if not is_lost:
                    store.sendall(data)

    def _return(self, store: socket.socket, gateway: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := store.recv(1_048_576):
                step = 1 if self._dribble_s else len(data)
                for k in range(0, len(data), step):
                    gateway.sendall(data[k : k + step])
                    time.sleep(self._dribble_s)


@contextlib.contextmanager
def running_store_proxy(store: EmbeddedStore) -> Iterator[StoreProxy]:
    proxy = StoreProxy(store)
    try:
        yield proxy
    finally:
        proxy.close()
