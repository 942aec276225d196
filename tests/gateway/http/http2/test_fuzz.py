"""Frames that no rule covers: whatever a client sends, the connection ends or continues, without a defect, and
the server serves others.
"""

import logging
import random
import time
from collections.abc import Callable

import pytest

from gateway.http.client_clock import Timeouts
from gateway.http.http2.frames import PREFACE
from shared_state import background
from tests.support.h2_alone import Alone
from tests.support.h2_wire import END_HEADERS, END_STREAM, GET, POST, H2Wire, block, data, frame, headers, settings
from tests.support.tls_server import Echo

CONNECTIONS = 300
TIMEOUTS = Timeouts(keep_alive=0.2, head=0.05, body=0.05, stall=0.05, linger=0.05)
LONG_S = 120.0

_log = logging.getLogger("fuzz")


def piece(random_: random.Random, stream_id: int) -> bytes:
    makers: tuple[Callable[[], bytes], ...] = (
        lambda: headers(stream_id, random_.choice((GET, POST))),
        lambda: headers(stream_id, POST, END_HEADERS),
        lambda: data(stream_id, random_.randbytes(random_.randrange(40)), random_.choice((0, END_STREAM, 8, 9))),
        lambda: frame(random_.randrange(12), random_.randrange(256), stream_id, random_.randbytes(8)),
        lambda: frame(random_.choice((2, 3, 6, 8)), 0, stream_id, random_.randbytes(random_.choice((4, 5, 8)))),
        lambda: frame(0x1, random_.randrange(256), stream_id, block() + random_.randbytes(random_.randrange(3))),
        lambda: frame(0x9, random_.choice((0, 4)), stream_id, block()[: random_.randrange(20)]),
    )
    return random_.choice(makers)()


def connection(random_: random.Random) -> bytes:
    """The bytes of one client: frames that are mostly valid, some of them damaged."""
    parts = [PREFACE, settings([(random_.choice((1, 2, 3, 4, 5, 6, 9)), random_.choice((0, 1, 65_535, 2**31 - 1)))])]
    for _ in range(random_.randrange(1, 30)):
        parts.append(piece(random_, random_.choice((0, 1, 1, 3, 5, 7, 2))))
    sent = bytearray(b"".join(parts))
    for _ in range(random_.choice((0, 0, 1, 3))):
        sent[random_.randrange(len(sent))] = random_.randrange(256)
    return bytes(sent)


def fuzz(seed: int, is_over: Callable[[int], bool], caplog: pytest.LogCaptureFixture) -> None:
    _log.warning("seed %d", seed)
    random_, count, failures = random.Random(seed), 0, background.failures["event loop"]
    with Alone(Echo(), TIMEOUTS) as alone:
        while not is_over(count):
            count += 1
            with H2Wire(alone.address, None, begins=False) as wire:
                wire.send(connection(random_))
                assert wire.outcome(), f"connection {count}"
        with H2Wire(alone.address, None) as wire:
            wire.send(headers(1))
            assert wire.answer(1)[0] == "200"

    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert background.failures["event loop"] == failures


def test_no_frames_are_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    fuzz(20_261_130, lambda count: count == CONNECTIONS, caplog)


@pytest.mark.long
def test_no_frames_are_a_defect_for_minutes(caplog: pytest.LogCaptureFixture) -> None:
    ends_s = time.monotonic() + LONG_S

    fuzz(time.time_ns(), lambda _: time.monotonic() > ends_s, caplog)
