"""The command `python -m loadtest.trials.attack_providers NAME PORT`: a provider that attacks a replica's memory or
event loop.
"""

import contextlib
import socket
import sys
import threading
import time

ANSWER = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}]}'
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
WHOLE = CHUNKED + b"%x\r\n%b\r\n0\r\n" % (len(ANSWER), ANSWER)
PLAIN = b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
FLOOD_S = 8.0

# Start of the answer, the part that follows repeatedly, and the pause between two of those in seconds.
ANSWERS = {
    "endless 1xx": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000, 0.0),
    "endless header line": (b"HTTP/1.1 200 OK\r\nx: ", b"y" * 65_536, 0.0),
    "endless headers": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 8000, 0.0),
    "endless trailer line": (WHOLE + b"x: ", b"y" * 65_536, 0.0),
    "endless chunk extension": (CHUNKED + b"5;", b"y" * 65_536, 0.0),
    "tiny chunks": (CHUNKED, b"1\r\n \r\n" * 8000, 0.0),
    "head at 1 byte/s": (b"HTTP/1.1 200 OK\r\nx: ", b"y", 1.0),
    "body at 1 byte/s": (CHUNKED, b"1\r\n \r\n", 1.0),
    "bytes after the end": (PLAIN, b"x" * 65_536, 0.0),
}


def _answer(connection: socket.socket, start: bytes, more: bytes, pause_s: float) -> None:
    with connection, contextlib.suppress(OSError):
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65_536)
        connection.sendall(start)
        began = time.monotonic()
        while time.monotonic() - began < FLOOD_S:
            connection.sendall(more)
            time.sleep(pause_s)


def main(name: str, port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer, args=(connection, *ANSWERS[name]), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
