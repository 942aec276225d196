"""Child processes run from the installed package, whatever lies in the current folder."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared_state.embedded import die_with_parent
from tests.loadtest.process import wait_until
from tests.support.cluster import STATS
from tests.support.demo import CHILDREN, Demo
from tests.support.ports import free_port
from tests.support.wire import ask, request_bytes

HOSTILE = "raise SystemExit('imported from the current folder')\n"


@pytest.fixture
def hostile_folder(tmp_path: Path) -> Path:
    """Holds modules that end the process that imports them."""
    folder = tmp_path / "hostile"
    (folder / "gateway").mkdir(parents=True)
    (folder / "loadtest").mkdir()
    for name in ("gateway/__init__.py", "loadtest/__init__.py", "redis.py", "msgspec.py"):
        (folder / name).write_text(HOSTILE)
    return folder


@contextlib.contextmanager
def serving(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Two replicas behind one port, started from ``folder``; their output is in the file `log` of its parent."""
    file, log = folder.parent / "gateway.yaml", folder.parent / "log"
    file.write_text("model_list: [{id: m-1, model_name: m, provider: {base_url: 'http://127.0.0.1:1/v1'}}]")
    serve = [sys.executable, "-P", "-m", "gateway", "serve", "--config", str(file), "--port", str(port)]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*serve, "--replicas", "2"], cwd=folder, stdout=output, stderr=output, preexec_fn=die_with_parent
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


def replicas(port: int) -> int:
    """Returns how many replicas the state knows; 0 when nothing listens."""
    with contextlib.suppress(OSError):
        return int(ask(("127.0.0.1", port), request_bytes("GET", STATS)).json()["replicas"])
    return 0


def test_replicas_of_serve_import_nothing_from_the_current_folder(hostile_folder: Path) -> None:
    port, log = free_port(), hostile_folder.parent / "log"
    with serving(hostile_folder, port):
        wait_until(lambda: replicas(port) == 2, log.read_text)

    assert HOSTILE.split("'")[1] not in log.read_text()


def test_cluster_of_the_demo_imports_nothing_from_the_current_folder(hostile_folder: Path) -> None:
    port = free_port(2)
    demo = Demo("--port", str(port), folder=hostile_folder)
    with contextlib.closing(demo):
        demo.read_guide()
        children = demo.children()

        assert len(children) == CHILDREN
        assert ask(("127.0.0.1", port), request_bytes("GET", "/readyz")).status == 200


def test_child_of_a_hostile_folder_is_found_without_safe_path(hostile_folder: Path) -> None:
    """The folder does what the tests above need it for."""
    command = [sys.executable, "-m", "gateway", "--version"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(command, cwd=hostile_folder, env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, "imported from the current folder\n")
