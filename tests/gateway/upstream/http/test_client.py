"""Kept connections: which are used again, for how long, and what happens when a server has closed one."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable

import pytest

from gateway.upstream.http import client
from gateway.upstream.http.client import HttpClient
from gateway.upstream.http.faults import Disconnected, HttpFault
from gateway.upstream.http.request import request
from tests.gateway.upstream.http.conftest import Runner
from tests.support.http_servers import CONNECT_S, answering, fetched, listening, request_of

GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Counted:
    """A server that keeps its connections, and how many it has accepted and which are open."""

    def __init__(self, answer: bytes = GOOD) -> None:
        self.answer = answer
        self.answers: list[bytes] = []  # in place of ``answer``; after the last byte the connection is closed
        self.accepted = 0
        self.open = 0
        self.changed = asyncio.Event()
        self.numbers: list[int] = []  # the connection of each request

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        number = self.accepted
        self.open += 1
        try:
            while True:
                await request_of(reader)
                self.numbers.append(number)
                writer.write(self.answers.pop(0) if self.answers else self.answer)
                if self.answers:
                    return
        finally:
            self.open -= 1
            self.changed.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not is_so():
                self.changed.clear()
                await self.changed.wait()


def test_one_connection_serves_calls_one_after_the_other(on_loop: Runner) -> None:
    async def run() -> int:
        server = Counted()
        async with listening(server.serve) as port, HttpClient() as http:
            for _ in range(20):
                assert await fetched(http, f"http://127.0.0.1:{port}/") == (200, b"{}")
        return server.accepted

    assert on_loop(run()) == 1


def test_calls_at_once_have_connections_of_their_own_and_the_newest_is_used_first(on_loop: Runner) -> None:
    async def run() -> list[int]:
        server = Counted()
        async with listening(server.serve) as port, HttpClient() as http:
            url = f"http://127.0.0.1:{port}/"
            await asyncio.gather(*(fetched(http, url) for _ in range(3)))
            for _ in range(3):
                await fetched(http, url)
        return server.numbers

    numbers = on_loop(run())
    assert sorted(numbers[:3]) == [1, 2, 3]
    assert len(set(numbers[3:])) == 1


@pytest.mark.parametrize(
    ("keep_alive_s", "header", "accepted"),
    [
        (30.0, b"", 1),
        (0.0, b"", 2),
        (30.0, b"keep-alive: timeout=60, max=9\r\n", 1),
        (30.0, b"Keep-Alive: timeout=1\r\n", 2),
    ],
)
def test_idle_connection_is_kept_as_long_as_both_sides_allow(
    on_loop: Runner, keep_alive_s: float, header: bytes, accepted: int
) -> None:
    async def run() -> int:
        server = Counted(GOOD.replace(b"\r\n\r\n", b"\r\n" + header + b"\r\n", 1))
        async with listening(server.serve) as port, HttpClient(keep_alive_s) as http:
            for _ in range(2):
                await fetched(http, f"http://127.0.0.1:{port}/")
        return server.accepted

    assert on_loop(run()) == accepted


def test_connection_that_is_idle_for_too_long_is_not_used(on_loop: Runner) -> None:
    async def run() -> int:
        server, loop = Counted(), asyncio.get_running_loop()
        async with listening(server.serve) as port, HttpClient(0.001) as http:
            for _ in range(2):
                await fetched(http, f"http://127.0.0.1:{port}/")
                until_s = loop.time() + 0.002
                while loop.time() < until_s:
                    await asyncio.sleep(0)
        return server.accepted

    assert on_loop(run()) == 2


def test_connection_that_is_idle_for_too_long_is_closed(on_loop: Runner) -> None:
    async def run() -> int:
        server = Counted()
        async with listening(server.serve) as port, HttpClient(0.01) as http:
            await fetched(http, f"http://127.0.0.1:{port}/")
            await server.until(lambda: server.open == 0)
        return server.accepted

    assert on_loop(run()) == 1


def answering_twice(listener: socket.socket, is_read: threading.Event, is_late: threading.Event) -> None:
    """Sends each request back, and another answer once the first is read."""
    while True:
        try:
            connected = listener.accept()[0]
        except OSError:
            return
        with connected, contextlib.suppress(OSError):
            connected.settimeout(CONNECT_S)
            body = connected.recv(65_536)[-2:]
            connected.sendall(GOOD[:-2] + body)
            assert is_read.wait(CONNECT_S)
            is_read.clear()
            connected.sendall(GOOD[:-2] + b"??")
            is_late.set()
            connected.recv(1)


def test_late_answer_that_the_loop_has_yet_to_read_is_not_taken_for_the_next(on_loop: Runner) -> None:
    """The loop is busy while it arrives."""

    async def run() -> list[tuple[int, bytes]]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            is_read, is_late = threading.Event(), threading.Event()
            threading.Thread(target=answering_twice, args=(listener, is_read, is_late), daemon=True).start()
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            async with HttpClient() as http:
                answers = []
                for body in (b"{}", b"[]"):
                    answers.append(await fetched(http, url, body))
                    is_read.set()
                    assert is_late.wait(CONNECT_S)  # without a turn of the loop
                    is_late.clear()
            listener.shutdown(socket.SHUT_RDWR)
        return answers

    assert on_loop(run()) == [(200, b"{}"), (200, b"[]")]


def test_connection_that_its_server_closes_is_forgotten_at_once(on_loop: Runner) -> None:
    async def run() -> tuple[int, int]:
        async with listening(answering(GOOD)) as port, HttpClient() as http:
            await fetched(http, f"http://127.0.0.1:{port}/")
            async with asyncio.timeout(5):
                while http._open:
                    await asyncio.sleep(0)
            return len(http._open), sum(map(len, http._idle.values()))

    assert on_loop(run()) == (0, 0)


async def kept_and_closed(begun: bytes, *answers: bytes) -> tuple[object, int, int]:
    """Returns the outcome of a call whose kept connection is closed after ``begun``, and how many connections and
    requests there were. A second kept connection is closed alike; ``answers`` are those of new ones.
    """
    server = Counted()
    async with listening(server.serve) as port, HttpClient() as http:
        url = f"http://127.0.0.1:{port}/"
        await asyncio.gather(*(fetched(http, url) for _ in range(2)))
        assert server.accepted == 2
        server.answers = [begun, *answers, b""]
        try:
            outcome: object = await fetched(http, url)
        except HttpFault as fault:
            outcome = type(fault)
    return outcome, server.accepted, len(server.numbers)


def test_request_on_a_kept_connection_that_closes_unanswered_is_sent_again_on_a_new_one(on_loop: Runner) -> None:
    """Not on the other kept one, which the server may have closed as well."""
    assert on_loop(kept_and_closed(b"", GOOD)) == ((200, b"{}"), 3, 4)


def test_request_that_its_server_may_have_worked_on_is_not_sent_again(
    on_loop: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "IDLE_CLOSE_MOST_S", -1.0)
    outcome, _, requests = on_loop(kept_and_closed(b"", GOOD))

    assert (outcome, requests) == (Disconnected, 3)


def test_request_is_sent_again_only_once(on_loop: Runner) -> None:
    assert on_loop(kept_and_closed(b"", b"", GOOD)) == (Disconnected, 3, 4)


@pytest.mark.parametrize("begun", [b"H", GOOD[:-4], GOOD[:-1]])
def test_request_is_not_sent_again_once_a_byte_of_its_answer_has_come(on_loop: Runner, begun: bytes) -> None:
    outcome, accepted, requests = on_loop(kept_and_closed(begun, GOOD))

    assert isinstance(outcome, type)
    assert (accepted, requests) == (2, 3)


def test_body_that_is_not_read_to_its_end_closes_its_connection(on_loop: Runner) -> None:
    async def run() -> tuple[int, int]:
        server = Counted(GOOD[:-1])
        async with listening(server.serve) as port, HttpClient() as http:
            response = await http.send(request("POST", f"http://127.0.0.1:{port}/"), b"", CONNECT_S)
            response.close()
            await server.until(lambda: server.open == 0)
            return server.accepted, len(http._open)

    assert on_loop(run()) == (1, 0)


def test_closing_the_client_ends_calls_in_progress(on_loop: Runner) -> None:
    async def run() -> BaseException | None:
        async with listening(Counted(GOOD[:-1]).serve) as port:
            http = HttpClient()
            calling = asyncio.create_task(fetched(http, f"http://127.0.0.1:{port}/"))
            while not http._open:
                await asyncio.sleep(0)
            await http.close()
            with contextlib.suppress(HttpFault):
                await calling
            return calling.exception()

    assert isinstance(on_loop(run()), HttpFault)


def test_closing_the_client_sends_no_request_again(on_loop: Runner) -> None:
    """Its kept connection ends without a byte of the answer, but not by the server."""

    async def run() -> tuple[int, BaseException | None]:
        server = Counted()
        async with listening(server.serve) as port:
            http = HttpClient()
            await fetched(http, f"http://127.0.0.1:{port}/")
            server.answer = b""
            calling = asyncio.create_task(fetched(http, f"http://127.0.0.1:{port}/"))
            while len(server.numbers) < 2:
                await asyncio.sleep(0)
            await http.close()
            with contextlib.suppress(HttpFault):
                await asyncio.wait_for(calling, CONNECT_S)
        return len(server.numbers), calling.exception()

    requests, fault = on_loop(run())

    assert (requests, type(fault)) == (2, Disconnected)
