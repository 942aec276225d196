"""The client against servers that many providers run behind: nginx, HAProxy and Hypercorn."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config

from gateway.upstream.http.client import HttpClient
from gateway.upstream.http.request import request
from tests.support.http_servers import CONNECT_S, fetched, whole
from tests.support.ports import free_port
from tests.support.programs import program

LARGE = bytes(range(256)) * 4_000
NGINX = """
daemon off; user root; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_timeout 60 20; gzip on; gzip_min_length 1;
  gzip_types application/octet-stream; client_max_body_size 1k; keepalive_requests 3;
  server {{
    listen 127.0.0.1:{port}; root {folder};
    error_page 405 =200 $uri;
    location /empty {{ return 204; }}
    location /redirect {{ return 302 /elsewhere; }}
    location /early {{ return 103; }}
    location /proxied {{ proxy_pass http://127.0.0.1:{port}/large; proxy_http_version 1.1; proxy_buffering off; }}
  }}
}}
"""
HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 5s
  timeout server 5s
frontend answers
  bind 127.0.0.1:{port}
  http-request return status 429 content-type application/json string "{{}}" hdr retry-after 7 if {{ path /limited }}
  http-request deny deny_status 403 if {{ path /denied }}
  http-request return status 200 content-type application/json lf-string "%[req.fhdr(x-seen)] %[req.body_size]"
"""


@contextlib.contextmanager
def running(*command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


async def until_listening(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.01)


Use = Callable[[HttpClient, str], Awaitable[object]]


def used(port: int, use: Use) -> object:
    async def run() -> object:
        await until_listening(port)
        async with HttpClient() as http:
            return await use(http, f"http://127.0.0.1:{port}")

    return asyncio.run(run())


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[int]:
    path, port = program("nginx"), free_port()
    (tmp_path / "large").write_bytes(LARGE)
    (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, port=port))
    with running(path, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")):
        yield port


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[int]:
    path, port = program("haproxy"), free_port()
    (tmp_path / "haproxy.cfg").write_text(HAPROXY.format(port=port))
    with running(path, "-f", str(tmp_path / "haproxy.cfg")):
        yield port


def test_nginx_is_understood(nginx: int) -> None:
    async def use(http: HttpClient, url: str) -> object:
        gotten = await http.send(request("GET", f"{url}/large"), b"", CONNECT_S)
        large = await whole(gotten)
        others = [await fetched(http, f"{url}/{path}") for path in ("empty", "redirect", "nothing")]
        refused = await http.send(request("POST", f"{url}/large"), b"x" * 100_000, CONNECT_S)
        refused.close()
        proxied = await http.send(request("GET", f"{url}/proxied"), b"", CONNECT_S)
        return large == LARGE, await whole(proxied) == LARGE, [status for status, _ in others], refused.status

    assert used(nginx, use) == (True, True, [204, 302, 404], 413)


def test_nginx_that_closes_after_a_few_requests_costs_no_call(nginx: int) -> None:
    async def use(http: HttpClient, url: str) -> object:
        return {await fetched(http, f"{url}/empty") for _ in range(20)}

    assert used(nginx, use) == {(204, b"")}


def test_calls_at_once_are_answered_by_nginx(nginx: int) -> None:
    async def use(http: HttpClient, url: str) -> object:
        async def get() -> bool:
            return await whole(await http.send(request("GET", f"{url}/large"), b"", CONNECT_S)) == LARGE

        return await asyncio.gather(*(get() for _ in range(30)))

    assert used(nginx, use) == [True] * 30


def test_haproxy_is_understood(haproxy: int) -> None:
    async def use(http: HttpClient, url: str) -> object:
        seen = request("POST", f"{url}/", [("x-seen", "yes")])
        echoed = [await whole(await http.send(seen, b"x" * size, CONNECT_S)) for size in (0, 5, 10)]
        limited = await http.send(request("POST", f"{url}/limited"), b"{}", CONNECT_S)
        waits = [value for name, value in limited.headers if name == b"retry-after"]
        return echoed, (limited.status, waits, await whole(limited)), (await fetched(http, f"{url}/denied"))[0]

    assert used(haproxy, use) == ([b"yes 0", b"yes 5", b"yes 10"], (429, [b"7"], b"{}"), 403)


async def streaming(scope: Any, receive: Any, send: Any) -> None:
    """Sends each byte of the request's body in a chunk of its own."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for byte in body:
        await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def hypercorn() -> AsyncIterator[int]:
    port, over = free_port(), asyncio.Event()
    config = Config.from_mapping(bind=[f"127.0.0.1:{port}"], accesslog=None, errorlog=None)
    serving = asyncio.create_task(serve(streaming, config, shutdown_trigger=over.wait))
    try:
        await until_listening(port)
        yield port
    finally:
        over.set()
        await serving


def test_hypercorn_is_understood() -> None:
    async def run() -> list[tuple[int, bytes]]:
        async with hypercorn() as port, HttpClient() as http:
            return [await fetched(http, f"http://127.0.0.1:{port}/", b"streamed %d" % number) for number in range(3)]

    assert asyncio.run(run()) == [(200, b"streamed %d" % number) for number in range(3)]
