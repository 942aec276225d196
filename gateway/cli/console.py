"""`pllm top`, `pllm events`, `pllm usage`, `pllm reload`: the admin API in a terminal. The admin key comes from
PLLM_ADMIN_KEY.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import ssl
import sys
import termios
import tty
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Literal

import httpx
import msgspec

from gateway.cli import tables
from gateway.cli.tables import ClusterView, Line
from shared_state.snapshots import DeploymentSnapshot, Event

SILENT_S = 10.0  # the live stream sends a frame every second
QUIET_S = 40.0  # the stream of events sends comments more often
RETRY_S = 1.0
USAGE_S = 15.0  # the gateway waits for its store for ten seconds
RELOAD_S = 30.0  # replicas have ten seconds to answer and five to follow
EVENTS_SHOWN = 10
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _LINE_END, _REST = "\x1b[H", "\x1b[K\r\n", "\x1b[J"


class ApiRefused(Exception):
    """The admin API refused a request; the message gives the reason."""


def _trusted(environment: Mapping[str, str]) -> ssl.SSLContext | bool:
    """Returns the authorities that verify the gateway: SSL_CERT_FILE and SSL_CERT_DIR, as in other programs, or httpx's
    own. Raises ApiRefused.
    """
    file, directory = environment.get("SSL_CERT_FILE") or None, environment.get("SSL_CERT_DIR") or None
    if file is None and directory is None:
        return True
    try:
        return ssl.create_default_context(cafile=file, capath=directory)
    except OSError as error:
        raise ApiRefused(f"SSL_CERT_FILE or SSL_CERT_DIR cannot be read: {error}") from error


class Api:
    """One replica's admin API."""

    def __init__(self, url: str, key: str) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        # Not through a proxy of the environment: the key is for the gateway only.
        self._client = httpx.AsyncClient(
            base_url=url, headers=headers, timeout=SILENT_S, trust_env=False, verify=_trusted(os.environ)
        )

    async def __aenter__(self) -> "Api":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def events(self, limit: int) -> list[Event]:
        """Returns the newest ``limit`` events, oldest first. Raises ApiRefused, httpx.HTTPError."""
        answer = await self._client.get("/v1/admin/events", params={"limit": limit})
        await _check(answer)
        found = msgspec.json.decode(answer.content, type=dict[str, object])["events"]
        return list(reversed(msgspec.convert(found, list[Event])))

    async def stream(self, path: str, silent_s: float, headers: dict[str, str] | None = None) -> AsyncGenerator[bytes]:
        """Yields the data of each server-sent event. Raises ApiRefused, httpx.HTTPError."""
        sent = {"accept": "text/event-stream"} | (headers or {})
        async with self._client.stream("GET", path, headers=sent, timeout=silent_s) as answer:
            await _check(answer)
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    yield line[6:].encode()

    async def reload(self, take: str = "") -> tuple[int, list[str]]:
        """Reloads the cluster. Returns an exit code and the lines to print. Raises ApiRefused, httpx.HTTPError."""
        params = {"take": take} if take else {}
        answer = await self._client.post("/v1/admin/reload", params=params, timeout=RELOAD_S)
        if answer.status_code == 409:
            error = answer.json()["error"]
            objections = [f"{each['replica']}: {each['path']}: {each['message']}" for each in error.get("details", [])]
            return 1, [tables.clean(line) for line in (objections or [error["message"]])]
        await _check(answer)
        done = answer.json()
        head = f"{done['result']}: version {done['version']} at {len(done['replicas'])} replicas, {done['digest']}"
        behind = [f"not yet: {name}" for name in done["behind"]]
        return int(bool(behind) and not take), [tables.clean(line) for line in (head, *done["changed"], *behind)]

    async def usage(self, params: Mapping[str, str]) -> bytes:
        """Returns the usage of tenants in the format that ``params`` names. Raises ApiRefused, httpx.HTTPError."""
        answer = await self._client.get("/v1/admin/usage", params=params, timeout=USAGE_S)
        await _check(answer)
        return answer.content

    async def frames(self, most: int | None = None) -> AsyncGenerator[ClusterView]:
        """Yields the whole state once a second, ``most`` times. Raises ApiRefused, httpx.HTTPError."""
        kept = ClusterView()
        path = "/v1/admin/live" + (f"?frames={most}" if most else "")
        async with contextlib.aclosing(self.stream(path, SILENT_S)) as stream:
            async for data in stream:
                kept = _merged(kept, msgspec.json.decode(data, type=ClusterView))
                yield kept


def _merged(before: ClusterView, frame: ClusterView) -> ClusterView:
    """Merges a frame into the state before it: most frames hold only changed deployments and new events."""
    if frame.models:
        return frame
    rows: dict[str, DeploymentSnapshot] = {row.id: row for row in (*before.deployments, *frame.deployments)}
    events = (*before.events, *frame.events)[-EVENTS_SHOWN:]
    return msgspec.structs.replace(frame, models=before.models, deployments=tuple(rows.values()), events=events)


def reload(url: str, key: str, take: str = "") -> int:
    """Reloads the cluster through one replica and prints the result; ``take`` "mine" leaves the other replicas out.
    Returns an exit code. Raises OSError.
    """
    return asyncio.run(_reload(url, key, take))


async def _reload(url: str, key: str, take: str) -> int:
    with _faults(url):
        async with Api(url, key) as api:
            code, lines = await api.reload(take)
    for line in lines:
        _write(f"{line}\n")
    return code


def usage(url: str, key: str, params: Mapping[str, str], form: Literal["table", "json", "csv"]) -> int:
    """Prints the usage of tenants. ``params``: of the endpoint. Raises OSError."""
    text = asyncio.run(_usage(url, key, {**params, "format": "csv" if form == "csv" else "json"}))
    if form == "table":
        text = b"".join(f"{line.text}\n".encode() for line in tables.usage(msgspec.json.decode(text)))
    _write(text.decode().rstrip() + "\n")
    return 0


async def _usage(url: str, key: str, params: Mapping[str, str]) -> bytes:
    with _faults(url):
        async with Api(url, key) as api:
            return await api.usage(params)


async def _check(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    await answer.aread()
    try:
        message = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"the gateway answered {answer.status_code}"
    hint = " Check PLLM_ADMIN_KEY." if answer.status_code in (401, 403) else ""
    raise ApiRefused(tables.clean(message) + hint)


def top(url: str, key: str) -> int:
    """Draws a table every second, or once if the output is not a terminal. Raises OSError."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return asyncio.run(_top_live(url, key))
    return asyncio.run(_top_once(url, key))


async def _top_once(url: str, key: str) -> int:
    with _faults(url):
        async with Api(url, key) as api, contextlib.aclosing(api.frames(1)) as frames:
            async for view in frames:
                _write("".join(f"{line.fit(10_000, False)}\n" for line in tables.cluster(view, EVENTS_SHOWN)))
    return 0


async def _top_live(url: str, key: str) -> int:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, done.set)
    with _faults(url), _screen():
        loop.add_reader(sys.stdin.fileno(), _read_key, done)
        drawing = asyncio.create_task(_draw(url, key))
        ending = asyncio.create_task(done.wait())
        try:
            await asyncio.wait((drawing, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(sys.stdin.fileno())
            drawing.cancel()
            ending.cancel()
            [drawn, _] = await asyncio.gather(drawing, ending, return_exceptions=True)
        if isinstance(drawn, ApiRefused):
            raise drawn
    return 0


def _read_key(done: asyncio.Event) -> None:
    if os.read(sys.stdin.fileno(), 64) in (b"", b"q", b"Q", b"\x03"):
        done.set()


async def _draw(url: str, key: str) -> None:
    """Draws until the API refuses. Tries again after a lost or failed connection."""
    view = ClusterView()
    while True:
        problem = "the gateway has ended the stream"
        try:
            async with Api(url, key) as api, contextlib.aclosing(api.frames()) as frames:
                async for view in frames:
                    _show(url, view, "")
        except httpx.HTTPError as error:
            problem = f"no connection: {error or type(error).__name__}"
        _show(url, view, problem)
        await asyncio.sleep(RETRY_S)


def _show(url: str, view: ClusterView, problem: str) -> None:
    size = shutil.get_terminal_size()
    head = Line(f"PLLM  {url}   {problem or 'live'}   q ends", "7" if problem else "1")
    lines = [head, Line(""), *tables.cluster(view, EVENTS_SHOWN)][: size.lines - 1]
    _write(_HOME + "".join(line.fit(size.columns, True) + _LINE_END for line in lines) + _REST)


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    """Switches the terminal to an empty screen and restores it at the end."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        _write(_ENTER)
        yield
    finally:
        _write(_LEAVE)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def events(url: str, key: str, limit: int, is_followed: bool) -> int:
    """Prints a line for each event, the newest last. Raises OSError."""
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(_events(url, key, limit, is_followed))
    return 0


async def _events(url: str, key: str, limit: int, is_followed: bool) -> None:
    last = "0-0"
    with _faults(url):
        async with Api(url, key) as api:
            for event in await api.events(limit):
                _write(tables.event_line(event) + "\n")
                last = event.id
    while is_followed:
        try:
            async with Api(url, key) as api:
                stream = api.stream("/v1/admin/events", QUIET_S, {"last-event-id": last})
                async with contextlib.aclosing(stream) as sent:
                    async for data in sent:
                        event = msgspec.json.decode(data, type=Event)
                        _write(tables.event_line(event) + "\n")
                        last = event.id
        except httpx.HTTPError as error:
            sys.stderr.write(f"no connection to {url}: {error or type(error).__name__}\n")
        except ApiRefused as refused:
            raise ConnectionError(str(refused)) from refused
        await asyncio.sleep(RETRY_S)


@contextlib.contextmanager
def _faults(url: str) -> Iterator[None]:
    """Turns errors of the API into OSError, whose message ends the command."""
    try:
        yield
    except ApiRefused as refused:
        raise ConnectionError(str(refused)) from refused
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConnectionError(f"no answer from {url}: {error or type(error).__name__}") from error


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
