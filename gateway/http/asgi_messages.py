"""Reads request bodies and sends responses over ASGI, for the hot endpoints, which are plain callables."""

from collections.abc import Callable, Iterable

from starlette.types import Receive, Scope, Send

from gateway.errors import GatewayError, RequestTooLarge
from gateway.http.error_bodies import headers_of

Header = tuple[bytes, bytes]

NO_STORE = (b"cache-control", b"no-store")  # a response belongs to one client: no cache may keep it

# In a scope: takes a function that is called when the client leaves, at once if it has left. A task that waits for the
# message `http.disconnect` costs more than most other steps of a request.
ON_LEFT = "pllm.on_left"

# In a scope: the body of a request that arrived as a whole, so that reading it takes no turn of the event loop.
WHOLE_BODY = "pllm.body"


class ClientGone(Exception):
    """The client left before its request was complete, so no response can be sent."""


def find(headers: Iterable[Header], name: bytes) -> bytes | None:
    for key, value in headers:
        if key == name:
            return value
    return None


async def read_body(
    scope: Scope, receive: Receive, most: int, hold: Callable[[int], object] = lambda _size: None
) -> bytes:
    """Returns the whole body, at most ``most`` bytes. Calls ``hold`` with the size in bytes of each chunk. Raises
    RequestTooLarge, ClientGone, and any exception of ``hold``.
    """
    announced = find(scope["headers"], b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > most:
        raise RequestTooLarge(f"The request body is larger than {most} bytes.")
    message = await receive()
    parts, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        hold(len(part))
        parts.append(part)
        size += len(part)
        if size > most:
            raise RequestTooLarge(f"The request body is larger than {most} bytes.")
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
        message = await receive()


async def send_whole(send: Send, status: int, headers: list[Header], body: bytes) -> None:
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: GatewayError, status: int, body: bytes, headers: list[Header]) -> None:
    await send_whole(send, status, headers + headers_of(error), body)
