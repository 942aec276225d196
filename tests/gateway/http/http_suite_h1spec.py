"""h1spec's cases: requests in fragments, and which requests are valid."""

from tests.gateway.http.http_suite import (
    BODY,
    CHUNKED,
    CHUNKS,
    LENGTH,
    awaited,
    called,
    get,
    post,
    refused,
    request,
    served,
)

WHOLE = get()
CUTS = {
    "method": b"G",
    "URL 1": b"GET ",
    "URL 2": b"GET /livez",
    "URL 3": b"GET /livez ",
    "HTTP version": b"GET /livez HTTP",
    "request line": b"GET /livez HTTP/1.1",
    "request line newline 1": b"GET /livez HTTP/1.1\r",
    "request line newline 2": b"GET /livez HTTP/1.1\r\n",
    "field name": b"GET /livez HTTP/1.1\r\nhos",
    "field value 1": b"GET /livez HTTP/1.1\r\nhost:",
    "field value 2": b"GET /livez HTTP/1.1\r\nhost: ",
    "field value 3": b"GET /livez HTTP/1.1\r\nhost: localhost",
    "field value 4": b"GET /livez HTTP/1.1\r\nhost: localhost\r",
    "request": b"GET /livez HTTP/1.1\r\nhost: localhost\r\n",
    "request termination": b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r",
}
_4XX = "400|413|414|417|431"

H1SPEC = (
    *(awaited(f"fragmented {name}", "3", start, WHOLE.removeprefix(start)) for name, start in CUTS.items()),
    refused("no version", "3", b"GET /livez \r\n\r\n", wanted="400|505"),
    served("expect", "RFC 9110 10.1.1", get("expect: 100-continue")),
    served("valid GET", "3", get()),
    served("edge cases", "5", get("empty:", host="hoSt:\tlocalhost")),
    refused("invalid header characters", "5.1", get("X-Invalid[]: test"), wanted=_4XX),
    refused("missing Host", "3.2", get("content-length: 5", host=None), wanted=_4XX),
    refused("multiple Hosts", "3.2", get("host: other"), wanted=_4XX),
    refused("overflowing negative length", "6.2", get("content-length: -123456789123456789123456789"), wanted=_4XX),
    refused("negative length", "6.2", get("content-length: -1234"), wanted=_4XX),
    refused("length that is no number", "6.2", get("content-length: abc"), wanted=_4XX),
    served("empty header value", "5", get("x-empty: ")),
    refused("control character in a header", "RFC 9110 5.5", get("x: test\x07"), wanted=_4XX),
    refused("invalid version", "2.3", request("GET /livez HTTP/9.9"), status=505, wanted="400|505"),
    refused("invalid prefix", "3", b"Extra line" + get(), wanted="400|501|505"),
    refused("invalid line end", "2.2", get().removesuffix(b"\n") + b"Some-Header: Test\r\n\r\n", wanted=_4XX),
    called("valid POST", "6.2", post(LENGTH, body=BODY)),
    called("chunks", "7.1", post(CHUNKED, body=CHUNKS)),
    refused("length and chunks, in mixed case", "6.1", post("content-LengtH: 5", "TransFer-Encoding: chunked"),
            wanted="2xx|" + _4XX),
)  # fmt: skip
