"""llama.cpp as a provider of `make side-by-side`, with a stand-in for its interpreter: its package is not needed."""

import http.client
import sys
from pathlib import Path

import pytest

from loadtest.trials import engine
from loadtest.trials.engine import Llama
from tests.support.ports import free_port

# Listens at once and loads its model for the first two requests, as llama.cpp does.
STAND_IN = """\
#!{python}
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
statuses = [503, 503]
class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(statuses.pop() if statuses and self.path == "/health" else 200)
        self.end_headers()
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Health).serve_forever()
"""


def home(folder: Path, program: str) -> Path:
    path = folder / "bin/python"
    path.parent.mkdir()
    path.write_text(program.format(python=sys.executable))
    path.chmod(0o755)
    return folder


def status(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/health")
    with connection.getresponse() as response:
        return response.status


def test_engine_has_started_once_it_has_loaded_its_model(tmp_path: Path) -> None:
    llama = Llama(free_port(), home(tmp_path, STAND_IN))
    try:
        assert status(llama.port) == 200
    finally:
        llama.kill()

    with pytest.raises(ConnectionRefusedError):
        status(llama.port)


def test_engine_that_ends_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="did not start"):
        Llama(free_port(), home(tmp_path, "#!/bin/sh\nexit 1\n"))


def test_releases_are_pinned() -> None:
    assert all("==" in requirement for requirement in engine.LLAMA.requirement.split())
