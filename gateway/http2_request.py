"""What an HTTP/2 request is in ASGI's terms, and the answers to those that no application gets."""

import asyncio
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http2_stream import Header
from gateway.http_text import SURPLUS, refusal

Address = tuple[str, int] | None
_ASGI = {"version": "3.0", "spec_version": "2.1"}


def request_of(fields: list[Header], client: Address, server: Address) -> tuple[Scope, bool]:
    """Takes fields that `h2` has validated. Returns the scope, and whether the client waits for 100 Continue."""
    pseudo = {name: value for name, value in fields if name.startswith(b":")}
    headers = [(name, value) for name, value in fields if not name.startswith(b":")]
    if b":authority" in pseudo:
        headers = [(b"host", pseudo[b":authority"]), *(header for header in headers if header[0] != b"host")]
    path, _, query = pseudo.get(b":path", b"").partition(b"?")
    scope = {
        "type": "http",
        "asgi": _ASGI,
        "http_version": "2",
        "method": pseudo[b":method"].decode("latin-1"),
        "scheme": "https",
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": client,
        "server": server,
    }
    return scope, any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)


def address(transport: asyncio.BaseTransport, name: str) -> Address:
    info = transport.get_extra_info(name)
    return (info[0], info[1]) if isinstance(info, tuple) else None


def _answering(status: int, text: bytes, retry_after: bytes = b"") -> ASGIApp:
    """``text``: of HTTP/1.1, whose body is the answer."""
    body = text.partition(b"\r\n\r\n")[2]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if retry_after:
        headers.append((b"retry-after", retry_after))

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


_bad_request = _answering(400, refusal(400, b"The request is not valid HTTP."))
_surplus = _answering(503, SURPLUS, b"1")


def refusing(scope: Scope, is_surplus: bool) -> ASGIApp | None:
    """Returns the application that refuses the request, if it is to be refused. ``is_surplus``: its connection is one
    too many.
    """
    if scope["method"] == "CONNECT" or not scope["raw_path"].startswith(b"/"):
        return _bad_request
    return _surplus if is_surplus and scope["method"] == "POST" else None
