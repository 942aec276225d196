"""Streams, windows, resets and floods of HTTP/2, by a client that sends frame by frame."""

import socket
from collections.abc import Iterator

import httpx
import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame

from gateway.http.client_clock import Timeouts
from gateway.http.http2.bounds import STREAM_WINDOW, STREAMS_MOST
from gateway.http.http2.frames import CREDIT_MOST, PREFACE
from tests.loadtest.process import wait_until
from tests.support.h2_alone import Alone
from tests.support.h2_wire import (
    END_HEADERS,
    END_STREAM,
    GET,
    POST,
    H2Wire,
    block,
    client_context,
    data,
    frame,
    headers,
    number,
    settings,
)
from tests.support.tls_server import Echo, Identity, TlsServer, echoing, identity

__all__ = ["identity"]

LARGE = 100_000
PING = frame(0x6, 0, 0, bytes(8))


def to(path: str, method: str = "GET") -> tuple[tuple[str, str], ...]:
    return ((":method", method), GET[1], (":path", path), GET[3])


@pytest.fixture
def served(identity: Identity) -> Iterator[tuple[TlsServer, Echo]]:
    with echoing(identity) as running:
        yield running


@pytest.fixture
def server(served: tuple[TlsServer, Echo]) -> TlsServer:
    return served[0]


@pytest.fixture
def app(served: tuple[TlsServer, Echo]) -> Echo:
    return served[1]


@pytest.fixture
def wire(server: TlsServer, identity: Identity) -> Iterator[H2Wire]:
    with H2Wire(server.address, client_context(identity.authority.certificate)) as connected:
        yield connected


class TestRequest:
    def test_scope_is_that_of_https(self, app: Echo, wire: H2Wire) -> None:
        wire.send(headers(1, (*to("/a%20b?q=1"), ("x-one", "1"), ("cookie", "a=1"), ("cookie", "b=2"))))
        wire.answer(1)

        (scope,) = app.scopes
        assert (scope["scheme"], scope["http_version"], scope["method"]) == ("https", "2", "GET")
        assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"q=1")
        assert scope["headers"] == [(b"host", b"localhost"), (b"x-one", b"1"), (b"cookie", b"a=1; b=2")]
        assert scope["client"] == wire.socket.getsockname()

    @pytest.mark.parametrize("path", ["*", "x", "http://other/x", "/x#y"])
    def test_target_that_is_no_path_is_refused(self, wire: H2Wire, path: str) -> None:
        wire.send(headers(1, to(path)))

        assert wire.answer(1)[0] == "400"

    @pytest.mark.parametrize("host", ["a,b", "user@host", "a/b", "a b"])
    def test_authority_that_is_no_host_is_refused(self, wire: H2Wire, host: str) -> None:
        wire.send(headers(1, (*GET[:3], (":authority", host))))

        assert wire.answer(1)[0] == "400"

    def test_expectation_other_than_100_continue_is_refused(self, wire: H2Wire) -> None:
        wire.send(headers(1, (*GET, ("expect", "wonders"))))

        assert wire.answer(1)[0] == "417"

    def test_connect_is_refused(self, wire: H2Wire) -> None:
        wire.send(headers(1, ((":method", "CONNECT"), (":authority", "other:443"))))

        assert wire.answer(1)[0] == "400"

    def test_path_outside_ascii_is_refused(self, wire: H2Wire) -> None:
        wire.send(headers(1, to("/\xff")))

        assert wire.answer(1)[0] == "400"

    def test_client_that_waits_is_let_go_when_its_body_is_read(self, wire: H2Wire) -> None:
        wire.send(headers(1, (*POST, ("expect", "100-continue")), END_HEADERS))
        wire.until(HeadersFrame)
        assert wire.fields[1][":status"] == "100"
        wire.send(data(1, b"go", END_STREAM))

        assert wire.answer(1) == ("200", b"go")

    def test_client_that_waits_is_not_let_go_for_a_refusal(self, wire: H2Wire) -> None:
        wire.send(headers(1, (*to("/early", "POST"), ("expect", "100-continue")), END_HEADERS))
        wire.until(HeadersFrame)

        assert wire.fields[1][":status"] == "413"

    def test_body_larger_than_the_windows_arrives(self, app: Echo, server: TlsServer, identity: Identity) -> None:
        body = bytes(3_000_000)
        with httpx.Client(http2=True, verify=client_context(identity.authority.certificate)) as client:
            answer = client.post(f"https://localhost:{server.address[1]}/x", content=body)

        assert (answer.http_version, answer.status_code, answer.content == body) == ("HTTP/2", 200, True)

    def test_unread_body_is_bounded_by_its_window(self, app: Echo, wire: H2Wire) -> None:
        assert wire.pong()  # our windows are acknowledged
        wire.send(headers(1, to("/deaf", "POST"), END_HEADERS))
        wire.send(*(data(1, bytes(16_384)) for _ in range(STREAM_WINDOW // 16_384)))
        wire.send(headers(3, POST, END_HEADERS), data(3, b"another", END_STREAM))
        assert wire.answer(3) == ("200", b"another")
        wire.send(data(1, b"x"))

        assert wire.outcome() == "connection: FLOW_CONTROL_ERROR"
        app.release.set()

    def test_reset_stream_leaves_its_window_to_others(self, app: Echo, wire: H2Wire) -> None:
        """Four of them have taken all of the connection's."""
        assert wire.pong()
        for stream_id in (1, 3, 5, 7):
            wire.send(headers(stream_id, to("/deaf", "POST"), END_HEADERS))
            wire.send(*(data(stream_id, bytes(16_384)) for _ in range(STREAM_WINDOW // 16_384)))
        assert wire.pong()
        for stream_id in (1, 3, 5, 7):
            wire.reset(stream_id)
        wire.send(headers(9, POST, END_HEADERS), *(data(9, bytes(10_000)) for _ in range(6)), data(9, b"", END_STREAM))

        assert wire.answer(9) == ("200", bytes(60_000))
        app.release.set()


class TestAnswer:
    def test_head_has_a_body_of_no_bytes(self, wire: H2Wire) -> None:
        wire.send(headers(1, to("/send/1/9", "HEAD")))

        assert wire.answer(1) == ("200", b"")
        assert "date" in wire.fields[1]

    def test_connection_headers_are_not_sent(self, wire: H2Wire) -> None:
        wire.send(headers(1, to("/of-connections")))

        assert wire.answer(1) == ("204", b"")
        assert set(wire.fields[1]) == {":status", "x-own", "date"}

    def test_streams_take_turns(self, wire: H2Wire) -> None:
        """A short answer does not wait for the end of a long one."""
        wire.window(0, 10 * LARGE)
        wire.send(settings([(4, 0)]), headers(1, to(f"/send/1/{4 * LARGE}")), headers(3, to("/send/1/9")))
        wire.until(HeadersFrame, stream_id=3)
        wire.send(settings([(4, 5 * LARGE)]))
        wire.answer(3)

        assert len(wire.bodies[1]) < LARGE
        assert len(wire.answer(1)[1]) == 4 * LARGE

    def test_closed_window_holds_the_application_back(self, app: Echo, wire: H2Wire) -> None:
        wire.send(settings([(4, 0)]), headers(1, to(f"/send/100/{LARGE}")))
        wire.until(HeadersFrame, stream_id=1)
        assert wire.pong()
        assert app.taken == 0
        wire.window(0, 100 * LARGE)
        wire.window(1, 100 * LARGE)

        assert len(wire.answer(1)[1]) == 100 * LARGE

    def test_early_answer_arrives_before_the_rest_of_the_body(self, app: Echo, wire: H2Wire) -> None:
        """The rest is discarded, and the windows stay open for other streams."""
        wire.send(headers(1, to("/early", "POST"), END_HEADERS))
        assert wire.answer(1) == ("413", b"no")
        wire.send(*(data(1, bytes(16_384)) for _ in range(STREAM_WINDOW // 16_384)), data(1, b"", END_STREAM))
        wire.send(headers(3, POST, END_HEADERS), data(3, b"next", END_STREAM))

        assert wire.answer(3) == ("200", b"next")

    def test_httpx_sees_an_early_answer(self, server: TlsServer, identity: Identity) -> None:
        with httpx.Client(http2=True, verify=client_context(identity.authority.certificate)) as client:
            answer = client.post(f"https://localhost:{server.address[1]}/early", content=bytes(3_000_000))

        assert answer.status_code == 413

    def test_defect_is_an_answer_of_500(self, wire: H2Wire) -> None:
        wire.send(headers(1, to("/defect")), headers(3))

        assert {wire.answer(1)[0], wire.answer(3)[0]} == {"500", "200"}


class TestLeaving:
    @pytest.mark.parametrize("path", ["/x", "/held", f"/send/9/{LARGE}"])
    def test_reset_reaches_the_application(self, app: Echo, wire: H2Wire, path: str) -> None:
        wire.send(headers(1, to(path, "POST"), END_HEADERS))
        wait_until(lambda: app.begun == [path])
        wire.reset(1)

        wait_until(lambda: app.left == [path])
        wire.send(headers(3))
        assert wire.answer(3)[0] == "200"

    def test_end_of_the_connection_reaches_every_application(self, app: Echo, wire: H2Wire) -> None:
        wire.send(headers(1, to("/held")), headers(3, to("/held")))
        wait_until(lambda: len(app.begun) == 2)
        wire.socket.close()

        wait_until(lambda: app.left == ["/held", "/held"])

    def test_client_that_sends_goaway_still_gets_its_response(self, app: Echo, wire: H2Wire) -> None:
        wire.send(headers(1, to("/held")), frame(0x7, 0, 0, number(0) + number(0)))
        wire.until(DataFrame, stream_id=1)
        app.release.set()

        assert wire.answer(1) == ("200", b"first last")
        assert wire.next() is None


class TestEnd:
    def test_answers_in_flight_are_finished(self, server: TlsServer, app: Echo, wire: H2Wire) -> None:
        wire.send(headers(1, to("/held")))
        wire.until(DataFrame, stream_id=1)
        server.stop()
        goodbye = wire.until(GoAwayFrame)
        assert isinstance(goodbye, GoAwayFrame)
        assert (goodbye.last_stream_id, goodbye.error_code) == (1, 0)
        wire.send(headers(3))
        assert wire.until(RstStreamFrame, stream_id=3) is not None
        app.release.set()

        assert wire.answer(1) == ("200", b"first last")
        assert wire.next() is None

    def test_idle_connection_gets_goaway_and_is_closed(self, server: TlsServer, wire: H2Wire) -> None:
        assert wire.pong()
        server.stop()

        assert wire.until(GoAwayFrame) is not None
        assert wire.next() is None

    def test_request_while_the_replica_leaves_is_the_last_of_its_connection(
        self, server: TlsServer, wire: H2Wire
    ) -> None:
        server.is_leaving = True
        wire.send(headers(1))

        assert wire.until(GoAwayFrame) is not None
        assert wire.answer(1)[0] == "200"
        assert wire.next() is None

    def test_what_does_not_end_is_cut_off(self, identity: Identity) -> None:
        context = client_context(identity.authority.certificate)
        with echoing(identity, grace_s=0.05) as (server, _), H2Wire(server.address, context) as wire:
            wire.send(headers(1, to("/held")))
            wire.until(DataFrame, stream_id=1)
            server.stop()
            server.wait()

            assert wire.until(DataFrame) is None


class TestSurplus:
    def test_idle_connection_makes_room(self, identity: Identity) -> None:
        context = client_context(identity.authority.certificate)
        with echoing(identity, most=1) as (server, _), H2Wire(server.address, context) as first:
            assert first.pong()
            with H2Wire(server.address, context) as second:
                second.send(headers(1, POST, END_HEADERS), data(1, b"room", END_STREAM))

                assert second.answer(1) == ("200", b"room")
                assert first.until(GoAwayFrame) is not None

    def test_only_calls_on_surplus_connections_are_refused(self, identity: Identity) -> None:
        context = client_context(identity.authority.certificate)
        with echoing(identity, most=1) as (server, _), H2Wire(server.address, context) as first:
            first.send(headers(1, to("/held")))
            first.until(DataFrame)
            with H2Wire(server.address, context) as second:
                second.send(headers(1), headers(3, POST, END_HEADERS), data(3, b"", END_STREAM))
                statuses = [second.answer(stream_id)[0] for stream_id in (1, 3)]

        assert statuses == ["200", "503"]


class TestFloods:
    @pytest.mark.parametrize(
        "flood",
        [
            PING,
            settings(),
            frame(0x2, 0, 1, bytes(5)),
            frame(0x16, 0, 0),
            frame(0x8, 0, 0, number(1)),
            headers(1, POST, END_HEADERS) + data(1) * int(CREDIT_MOST),
        ],
        ids=["PING", "SETTINGS", "PRIORITY", "unknown", "WINDOW_UPDATE", "empty DATA"],
    )
    def test_flood_of_frames_that_carry_nothing_ends_the_connection(self, wire: H2Wire, flood: bytes) -> None:
        wire.send(flood * 2 * int(CREDIT_MOST) if len(flood) < 100 else flood * 2)
        while (made := wire.next()) is not None and not isinstance(made, GoAwayFrame):
            pass

        assert made is None or made.error_code in (11, 1)

    def test_rapid_reset_ends_the_connection_and_starts_a_bounded_number_of_calls(
        self, app: Echo, wire: H2Wire
    ) -> None:
        """CVE-2023-44487."""
        opened = range(1, 20 * int(CREDIT_MOST), 2)
        wire.send(*(headers(each, to("/held")) + frame(0x3, 0, each, number(8)) for each in opened))

        assert wire.until(GoAwayFrame) is None or wire.seen[-1].error_code == 11  # type: ignore[attr-defined]
        assert len(app.begun) <= CREDIT_MOST + 2 * STREAMS_MOST

    def test_flood_of_continuations_ends_the_connection(self, wire: H2Wire) -> None:
        wire.send(frame(0x1, 0, 1, block()), *(frame(0x9, 0, 1, b"") for _ in range(1_000)))

        assert wire.outcome() == "connection: PROTOCOL_ERROR"

    @pytest.mark.parametrize("value", ["x" * 70_000, ""])
    def test_large_list_of_headers_ends_the_connection(self, wire: H2Wire, value: str) -> None:
        fields = block([*GET, *(("x-large", value) for _ in range(1 if value else 3_000))])
        parts = [fields[at : at + 16_000] for at in range(0, len(fields), 16_000)]
        wire.send(frame(0x1, END_STREAM, 1, parts[0]), *(frame(0x9, 0, 1, part) for part in parts[1:]))
        wire.send(frame(0x9, END_HEADERS, 1))

        assert wire.outcome() == "connection: ENHANCE_YOUR_CALM"

    def test_list_of_headers_within_the_bound_is_served(self, wire: H2Wire) -> None:
        fields = block([*GET, *(("x-large", "x" * 8_000) for _ in range(7))])
        parts = [fields[at : at + 16_000] for at in range(0, len(fields), 16_000)]
        wire.send(frame(0x1, END_STREAM, 1, parts[0]), *(frame(0x9, 0, 1, part) for part in parts[1:]))
        wire.send(frame(0x9, END_HEADERS, 1))

        assert wire.answer(1)[0] == "200"

    def test_client_that_reads_no_answers_to_pings_is_not_read_either(self, app: Echo, wire: H2Wire) -> None:
        """Its frames stay in its own buffers."""
        wire.window(0, 2**31 - 1 - 65_535)
        wire.send(settings([(4, 2**31 - 1)]), headers(1, to(f"/send/1000/{LARGE}")))
        wait_until(lambda: app.taken > 0)
        wire.socket.settimeout(0.5)

        with pytest.raises(TimeoutError):
            wire.socket.sendall(frame(0xFF, 0, 0, bytes(16_384)) * 1_000)
        assert app.taken < 200


class TestTimeouts:
    def test_stream_whose_window_stays_closed_is_reset_and_its_application_gets_a_disconnect(self) -> None:
        app = Echo()
        with Alone(app, Timeouts(stall=0.1)) as alone, H2Wire(alone.address, None) as wire:
            wire.send(settings([(4, 5)]), headers(1, to("/send/1/9")), headers(3, to("/send/1/5")))

            reset = wire.until(RstStreamFrame)
            assert isinstance(reset, RstStreamFrame)
            assert (reset.stream_id, reset.error_code) == (1, 8)
            assert wire.bodies == {1: b"xxxxx", 3: b"xxxxx"}
            wait_until(lambda: app.left.count("/send/1/9") == 1)

    def test_stream_whose_window_opens_in_time_is_served(self) -> None:
        with Alone(Echo(), Timeouts(stall=0.5)) as alone, H2Wire(alone.address, None) as wire:
            wire.send(settings([(4, 5)]), headers(1, to("/send/1/9")))
            wire.until(DataFrame)
            wire.window(1, 4)

            assert wire.answer(1) == ("200", b"x" * 9)

    def test_client_that_takes_nothing_at_all_is_cut_off(self) -> None:
        app = Echo()
        with Alone(app, Timeouts(stall=0.1)) as alone, H2Wire(alone.address, None) as wire:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.window(0, 2**31 - 1 - 65_535)
            wire.send(settings([(4, 2**31 - 1)]), headers(1, to(f"/send/1000/{LARGE}")))

            wait_until(lambda: alone.closed == 1)
            assert app.left == [f"/send/1000/{LARGE}"]

    @pytest.mark.parametrize(
        "begun",
        [PREFACE[:10], PREFACE, PREFACE + settings()[:4], PREFACE + settings() + frame(0x1, 0, 1, block())],
        ids=["preface", "no SETTINGS", "SETTINGS", "block of headers"],
    )
    def test_client_that_stops_in_the_midst_is_cut_off(self, begun: bytes) -> None:
        with (
            Alone(Echo(), Timeouts(head=0.1)) as alone,
            H2Wire(alone.address, None, begins=False) as wire,
        ):
            wire.send(begun)

            assert wire.until(GoAwayFrame) is not None
            assert wire.next() is None

    def test_body_that_comes_too_slowly_ends_its_stream_alone(self) -> None:
        app = Echo()
        with Alone(app, Timeouts(body=0.1)) as alone, H2Wire(alone.address, None) as wire:
            wire.send(headers(1, POST, END_HEADERS), data(1, b"slow"))

            reset = wire.until(RstStreamFrame)
            assert reset is not None
            assert reset.stream_id == 1
            wait_until(lambda: app.left == ["/x"])
            wire.send(headers(3))
            assert wire.answer(3)[0] == "200"

    def test_idle_connection_ends_with_a_goodbye(self) -> None:
        with Alone(Echo(), Timeouts(keep_alive=0.1)) as alone, H2Wire(alone.address, None) as wire:
            wire.send(headers(1))
            wire.answer(1)

            assert wire.until(GoAwayFrame) is not None
            assert wire.next() is None

    def test_body_that_continues_after_its_response_is_ended(self) -> None:
        with Alone(Echo(), Timeouts(linger=0.1)) as alone, H2Wire(alone.address, None) as wire:
            wire.send(headers(1, to("/early", "POST"), END_HEADERS), data(1, b"more"))
            assert wire.answer(1) == ("413", b"no")

            reset = wire.until(RstStreamFrame)
            assert isinstance(reset, RstStreamFrame)
            assert reset.error_code == 0


def test_ping_is_answered_with_its_own_bytes(wire: H2Wire) -> None:
    wire.send(frame(0x6, 0, 0, b"12345678"))
    pong = wire.until(PingFrame)

    assert isinstance(pong, PingFrame)
    assert pong.opaque_data == b"12345678"
