"""`pllm demo`: a whole cluster on this machine with nothing to set up. An embedded Valkey, three fake providers and
two replicas that share state; all of it ends with this process.
"""

import asyncio
import errno
import re
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

from gateway.process.children import ChildFailed, Children
from shared_state.embedded import EmbeddedStore

PORT = 8080  # of the first replica; the second listens on the next one
START_TIMEOUT_S = 20.0

PROVIDERS = {
    "healthy": '{"latency_ms": 120, "latency_distribution": "lognormal", "chunk_gap_ms": 20}',
    "slow": '{"latency_ms": 1600, "latency_distribution": "uniform", "latency_spread": 0.2, "chunk_gap_ms": 60}',
    "failing": '{"latency_ms": 30, "error_rate": 1.0, "error_status": 500}',
}

CONFIG = """\
state: {{url: "{store}"}}
router:
  routing_strategy: adaptive
  affinity: {{mode: "off"}}        # the same request goes to every provider
  latency_threshold: 1s          # so that the slow provider counts as slow
  token_allowance: 0s
  circuit_breaker_cooldown: 10s  # short, to see breakers recover
  fallbacks: {{claude-3-opus: [gpt-4]}}
model_list:
  - {{id: gpt-4-healthy, model_name: gpt-4, provider: {{base_url: "{healthy}", api_key: demo}}}}
  - {{id: gpt-4-slow, model_name: gpt-4, provider: {{base_url: "{slow}", api_key: demo}}}}
  - {{id: gpt-4-failing, model_name: gpt-4, provider: {{base_url: "{failing}", api_key: demo}}}}
  - {{id: claude-failing, model_name: claude-3-opus, provider: {{base_url: "{failing}", api_key: demo}}}}
"""

_GUIDE = """
A cluster is running: replicas on {first} and {second} share one state.

Request a response, plain and streamed (-i shows which deployment served, and after how many attempts):
  curl -i {first}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "gpt-4", "messages": [{{"role": "user", "content": "Hello"}}]}}'
  curl -N {second}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "gpt-4", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'

Call a model whose only provider is down; its fallback answers (see x-pllm-fallback):
  curl -i {first}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "claude-3-opus", "messages": [{{"role": "user", "content": "Hello"}}]}}'

Watch it live in a browser while you follow the next steps: {first}/admin
or in a terminal:
  {python} -m gateway top --url {first}
  {python} -m gateway events --url {first} --follow

Put load on both replicas, then query the state of either; both report the same:
  {python} -m loadtest -url {first},{second} -model gpt-4 -rps 50 -duration 10s
  curl -s {second}/v1/admin/models/stats | python3 -m json.tool
  curl -s '{first}/v1/admin/explain?model=gpt-4' | python3 -m json.tool

Read the state itself (or use redis-cli -s {socket}):
  {python} -m gateway state --url {store} gpt-4-failing
  {python} -m gateway state --url {store} HGETALL 'pllm:{{default}}:deployment:gpt-4-failing'
  {python} -m gateway state --url {store} XREVRANGE 'pllm:{{default}}:events' + - COUNT 5

Make the failing provider healthy and watch its breaker close; make it fail again with error_rate 1:
  curl -s -X PATCH {failing_control} -d '{{"error_rate": 0}}'

Ctrl-C stops everything.
"""


def run(port: int = PORT) -> int:
    """Runs the demo until SIGINT, SIGTERM or SIGHUP. Returns an exit code."""
    try:
        asyncio.run(_run((port, port + 1)))
    except ChildFailed as failed:
        sys.stderr.write(f"{failed}\n")
        return 1
    return 0


async def _run(ports: tuple[int, int]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    for port in ports:
        _require_free(port)
    store = EmbeddedStore()
    children = Children(store.folder)
    try:
        await store.start()
        urls = await _start_providers(children)
        await _start_replicas(children, store, urls, ports)
        print(
            _GUIDE.format(
                first=f"http://127.0.0.1:{ports[0]}",
                second=f"http://127.0.0.1:{ports[1]}",
                python=Path(sys.executable).name if _is_on_path() else sys.executable,
                socket=store.socket,
                store=store.url,
                failing_control=urls["failing"].removesuffix("/v1") + "/control",
            ),
            flush=True,
        )
        while not stop.is_set():
            for name in children.take_ended():  # people kill processes to see the effect
                print(f"{name} has ended; the rest of the cluster continues.", flush=True)
            await _sleep(stop, 1.0)
    finally:
        await children.stop()
        store.stop()
    print("Stopped.", flush=True)


def _is_on_path() -> bool:
    return shutil.which(Path(sys.executable).name) == sys.executable


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ChildFailed(f"Port {port} is in use. Stop the other process or pass --port.") from error
            raise ChildFailed(f"Port {port} cannot be opened: {error.strerror}. Pass --port for another.") from error


async def _start_providers(children: Children) -> dict[str, str]:
    for name, behaviour in PROVIDERS.items():
        options = ("--port", "0", "--name", name, "--behaviour", behaviour, "--die-with-parent")
        children.start(name, "-m", "loadtest.provider", *options)
    urls: dict[str, str] = {}
    ends_at = time.monotonic() + START_TIMEOUT_S
    while len(urls) < len(PROVIDERS):
        for name in PROVIDERS:
            match = re.search(r"listening on (\S+)", children.log(name))
            if match:
                urls[name] = match[1] + "/v1"
        await _wait(children, ends_at)
    return urls


async def _start_replicas(
    children: Children, store: EmbeddedStore, urls: dict[str, str], ports: tuple[int, int]
) -> None:
    config = store.folder / "demo.yaml"
    config.write_text(CONFIG.format(store=store.url, **urls))
    for port in ports:
        children.start(f"replica-{port}", "-m", "gateway", "serve", "--config", str(config), "--port", str(port))
    ends_at = time.monotonic() + START_TIMEOUT_S
    for port in ports:
        while not await _listens(port):
            await _wait(children, ends_at)


async def _wait(children: Children, ends_at: float) -> None:
    """Waits for a moment. Raises ChildFailed if a child has ended, or at ``ends_at``."""
    children.check()
    if time.monotonic() > ends_at:
        raise ChildFailed(f"The demo did not start within {START_TIMEOUT_S:g} s.")
    await asyncio.sleep(0.05)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
