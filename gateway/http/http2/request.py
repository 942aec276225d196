"""What an HTTP/2 request is in ASGI's terms, and the answers to those that no application gets."""

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http.asgi_cycle import scope_of
from gateway.http.asgi_messages import NO_STORE
from gateway.http.http2.stream import Header
from gateway.http.http_text import SURPLUS, Address, refusal
from gateway.http.request_head import InvalidHead, checked_head
from gateway.http.surplus_calls import surplus_calls


def request_of(
    fields: list[Header], client: Address, server: Address, is_surplus: bool
) -> tuple[Scope, bool, ASGIApp | None]:
    """Takes fields that `h2` has validated. Returns the scope, whether the client waits for 100 Continue and, where the
    request is refused, the application that does so. ``is_surplus``: its connection is one too many.
    """
    pseudo = {name: value for name, value in fields if name.startswith(b":")}
    headers = [(name, value) for name, value in fields if not name.startswith(b":")]
    if b":authority" in pseudo:
        headers = [(b"host", pseudo[b":authority"]), *(header for header in headers if header[0] != b"host")]
    method, target, awaits_go = pseudo[b":method"].decode("latin-1"), pseudo.get(b":path", b""), False
    refusing = _surplus if is_surplus and method == "POST" else None
    try:
        if method == "CONNECT" or not target.isascii() or not (target.startswith(b"/") or target == b"*"):
            raise InvalidHead("The request target is not a path of this server.")
        awaits_go = checked_head(method, target, "1.1", headers).awaits_go
    except InvalidHead as error:
        target, refusing = b"/", _answering(error.status, refusal(error.status, str(error).encode()))
    if refusing is _surplus:
        surplus_calls.note()
    scope = scope_of(method, target, "2", headers, client, server)
    return scope, awaits_go, refusing


def _answering(status: int, text: bytes, retry_after: bytes = b"") -> ASGIApp:
    """``text``: of HTTP/1.1, whose body is the answer."""
    body = text.partition(b"\r\n\r\n")[2]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), NO_STORE]
    if retry_after:
        headers.append((b"retry-after", retry_after))

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


_surplus = _answering(503, SURPLUS, b"1")
