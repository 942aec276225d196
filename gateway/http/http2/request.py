"""Turns an HTTP/2 request into an ASGI scope, and answers the requests that the application does not get."""

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
    """Takes fields that `h2` has validated. Returns the scope, whether the client waits for `100 Continue` and, for a
    refused request, the application that refuses it. ``is_surplus``: the connection is beyond a bound.
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
    """Returns an application that sends the body of ``text``, an HTTP/1.1 response."""
    body = text.partition(b"\r\n\r\n")[2]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), NO_STORE]
    if retry_after:
        headers.append((b"retry-after", retry_after))

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


_surplus = _answering(503, SURPLUS, b"1")
