"""`: ping` comments while a client waits for the first event of a stream, so that proxies keep the connection. The
first one commits the status: a later error can only be an event of the stream.
"""

import asyncio
from types import TracebackType

from starlette.types import Message, Send

from gateway.http.asgi_messages import Header
from shared_state.background import once

PING = b": ping\n\n"
MESSAGE_PING = b'event: ping\ndata: {"type": "ping"}\n\n'  # as in Anthropic's own streams


class Pings:
    """Sends pings within the `with` block.

    Leaving the block does not wait for the last ping: otherwise an answer that arrives meanwhile would never be
    settled. ``ended`` waits, once the answer has an owner.
    """

    def __init__(self, send: Send, headers: list[Header], interval_s: float) -> None:
        self._send = send
        self._headers = headers
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None
        self.has_begun = False  # the response's status and headers have been sent

    def __enter__(self) -> "Pings":
        if self._interval_s:
            self._task = once("pings", self._run(), expected=OSError)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()

    async def ended(self) -> None:
        """Returns when the last ping has been sent as a whole."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            if not self.has_begun:
                self.has_begun = True
                headers = [*self._headers, (b"content-type", b"text/event-stream")]
                await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._send({"type": "http.response.body", "body": PING, "more_body": True})


async def _no_client(_message: Message) -> None:
    pass


NO_PINGS = Pings(_no_client, [], 0)  # of all requests that get none
