"""The command `python -m loadtest.bench.delayed_source`: a provider that answers each call after the same time.

One process answers tens of thousands of calls a second, which the fake provider of the cluster tests cannot.
"""

import argparse
import asyncio

import uvloop

from loadtest.bench.source import Connection

_BODY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1764000000,"model":"gpt-4","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"word"},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}'
)
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


class Delayed(Connection):
    """A connection whose answers take ``delay_s``."""

    def __init__(self, delay_s: float) -> None:
        super().__init__()
        self._delay_s = delay_s
        self._loop = asyncio.get_running_loop()

    def answer(self, _body: bytes, /) -> None:
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
