"""The command `python -m loadtest.bench.delayed_source`: a provider that answers each call after the same time.

One process answers tens of thousands of calls a second, which the fake provider of the cluster tests cannot.
"""

import argparse
import asyncio
import re
from typing import cast

import uvloop

_BODY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1764000000,"model":"gpt-4","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"word"},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}'
)
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Delayed(asyncio.Protocol):
    """One connection, with one call at a time."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._received = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if blank and length is not None and len(body) >= int(length[1]):
            self._received = b""
            self._loop.call_later(self._delay_s, self._transport.write, _ANSWER)


async def serve(port: int, delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Delayed(delay_s), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.delayed_source", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay-ms", type=float, default=20)
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.delay_ms / 1000))


if __name__ == "__main__":
    main()
