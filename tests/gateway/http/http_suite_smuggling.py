"""Http11Probe's cases about the length of a body: two parsers that disagree on it smuggle a request."""

from tests.gateway.http.http_suite import (
    BODY,
    CHUNK,
    CHUNKED,
    CHUNKS,
    LENGTH,
    SIZE,
    Case,
    awaited,
    called,
    chunked,
    get,
    post,
    refused,
    request,
)

SMUGGLED = get()
END = b"0\r\n\r\n"
LENGTHS = (
    refused("RFC9112-6.1-CL-NON-NUMERIC", "6.1", post("content-length: abc"), wanted="400|close"),
    refused("RFC9112-6.1-CL-PLUS-SIGN", "6.1", post(f"content-length: +{SIZE}"), wanted="400|close"),
    refused("SMUG-DUPLICATE-CL", "RFC 9110 8.6", post(LENGTH, "content-length: 85"), wanted="400|close"),
    called("SMUG-CL-LEADING-ZEROS", "RFC 9110 8.6", post(f"content-length: 00{SIZE}"), wanted="400|2xx"),
    called("SMUG-CL-LEADING-ZEROS-OCTAL", "RFC 9110 8.6", post("content-length: 0120", body=BODY.ljust(120)),
           wanted="400|2xx"),
    refused("SMUG-CL-NEGATIVE", "RFC 9110 8.6", post("content-length: -1"), wanted="400|close"),
    refused("SMUG-CL-NEGATIVE-ZERO", "RFC 9110 8.6", post("content-length: -0"), wanted="400|close"),
    called("SMUG-CL-TRAILING-SPACE", "RFC 9110 5.5", post(LENGTH + " "), wanted="400|2xx"),
    called("SMUG-CL-EXTRA-LEADING-SP", "RFC 9110 5.5", post(f"content-length:  {SIZE}"), wanted="400|2xx"),
    refused("SMUG-CL-COMMA-DIFFERENT", "RFC 9110 8.6", post(LENGTH + ", 85"), wanted="400|close"),
    refused("SMUG-CL-COMMA-SAME", "RFC 9110 8.6", post(f"{LENGTH}, {SIZE}"), wanted="400|2xx"),
    refused("SMUG-CL-COMMA-TRIPLE", "RFC 9110 8.6", post(f"{LENGTH}, {SIZE}, {SIZE}"), wanted="400|2xx"),
    refused("SMUG-CL-OCTAL", "RFC 9110 8.6", post("content-length: 0o120"), wanted="400|close"),
    refused("SMUG-CL-HEX-PREFIX", "RFC 9110 8.6", post("content-length: 0x50"), wanted="400|close"),
    refused("SMUG-CL-INTERNAL-SPACE", "RFC 9110 8.6", post("content-length: 8 0"), wanted="400|close"),
    refused("SMUG-CL-UNDERSCORE", "RFC 9110 8.6", post("content-length: 8_0"), wanted="400|close"),
    Case("SMUG-CL-DOUBLE-ZERO", "RFC 9110 8.6",
         (request("POST /v1/admin/deployments/raw/reset", "content-length: 00"),), (200,), is_closed=False, calls=0,
         wanted="400|2xx"),
)  # fmt: skip


def both(*encodings: str, length: str = LENGTH, body: bytes = BODY) -> bytes:
    """A POST with encodings and a length."""
    return post(*encodings, length, body=body)


ENCODINGS = (
    refused("SMUG-CL-TE-BOTH", "6.1", post(f"content-length: {len(CHUNKS)}", CHUNKED, body=CHUNKS)),
    refused("COMP-UNKNOWN-TE-501", "6.1", post("transfer-encoding: gzip"), wanted="400|501|close"),
    refused("SMUG-TE-XCHUNKED", "6.1", both("transfer-encoding: xchunked"), wanted="400|501|close"),
    refused("SMUG-TE-TRAILING-SPACE", "6.1", both(CHUNKED + " "), wanted="400|501|2xx+close"),
    refused("SMUG-TE-SP-BEFORE-COLON", "5.1", both("transfer-encoding : chunked"), wanted="400|close"),
    refused("SMUG-TE-DOUBLE-CHUNKED", "6.1", both("transfer-encoding: chunked, chunked")),
    refused("SMUG-TE-CASE-MISMATCH", "6.1", both("transfer-encoding: Chunked")),
    refused("SMUG-TE-NOT-FINAL-CHUNKED", "6.3", post("transfer-encoding: chunked, gzip", body=END), wanted="400|close"),
    refused("SMUG-TE-HTTP10", "6.1", both(CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0"), wanted="400|close"),
    refused("SMUG-TE-EMPTY-VALUE", "6.1", both("transfer-encoding: "), wanted="400|close"),
    refused("SMUG-TE-LEADING-COMMA", "RFC 9110 5.6.1", both("transfer-encoding: , chunked")),
    refused("SMUG-TE-TRAILING-COMMA", "RFC 9110 5.6.1", both("transfer-encoding: chunked,")),
    refused("SMUG-TE-DUPLICATE-HEADERS", "6.1", both(CHUNKED, "transfer-encoding: identity"), wanted="400|close"),
    refused("SMUG-TE-VTAB", "6.1", both("transfer-encoding: \x0bchunked"), wanted="400|close"),
    refused("SMUG-TE-FORMFEED", "6.1", both("transfer-encoding: \x0cchunked"), wanted="400|close"),
    refused("SMUG-TE-NULL", "6.1", both("transfer-encoding: chunked\0"), wanted="400|close"),
    refused("SMUG-TE-IDENTITY", "7", both("transfer-encoding: identity"), wanted="400|501|close"),
    refused("SMUG-TE-OBS-FOLD", "5.2", both("transfer-encoding:\r\n chunked"), wanted="400|2xx+close"),
    refused("SMUG-TE-TAB-BEFORE-VALUE", "RFC 9110 5.5", both("transfer-encoding:\tchunked"), wanted="400|2xx"),
    refused("SMUG-CHUNKED-WITH-PARAMS", "7", both("transfer-encoding: chunked;ext=val"), wanted="400|2xx"),
    called("SMUG-TRANSFER_ENCODING", "6.1", both("transfer_encoding: chunked"), wanted="400|2xx"),
    refused("SMUG-CLTE-PIPELINE", "6.1", both(CHUNKED, length="content-length: 4", body=END)),
    refused("SMUG-TECL-PIPELINE", "6.1", both(CHUNKED, length="content-length: 30", body=END)),
)  # fmt: skip

CHUNK_LINES = (
    called("COMP-CHUNKED-MULTI", "7.1", chunked(b"10\r\n%b\r\n40\r\n%b\r\n" % (BODY[:16], BODY[16:]) + END)),
    Case("COMP-CHUNKED-EMPTY", "7.1", (request("POST /v1/admin/deployments/raw/reset", CHUNKED, body=END),), (200,),
         is_closed=False, calls=0, wanted="2xx|close"),
    awaited("COMP-CHUNKED-NO-FINAL", "7.1", chunked(CHUNK), END, wanted="400|close|wait"),
    called("COMP-CHUNKED-EXTENSION", "7.1.1", chunked(CHUNKS.replace(b"50", b"50;ext=value", 1))),
    called("COMP-CHUNKED-TRAILER-VALID", "7.1.2", chunked(CHUNK + b"0\r\nx-checksum: abc\r\n\r\n")),
    called("COMP-CHUNKED-HEX-UPPERCASE", "7.1", chunked(b"A\r\n%b\r\n46\r\n%b\r\n" % (BODY[:10], BODY[10:]) + END)),
    refused("SMUG-CHUNK-BARE-SEMICOLON", "7.1.1", chunked(CHUNKS.replace(b"50", b"50;", 1)), wanted="400|close"),
    refused("SMUG-CHUNK-EXT-INVALID-TOKEN", "7.1.1", chunked(CHUNKS.replace(b"50", b"50;bad[=x", 1)),
            wanted="400|close"),
    refused("SMUG-CHUNK-UNDERSCORE", "7.1", chunked(CHUNKS.replace(b"50", b"5_0", 1)), wanted="400|close"),
    refused("SMUG-CHUNK-HEX-PREFIX", "7.1", chunked(b"0x" + CHUNKS), wanted="400|close"),
    refused("SMUG-CHUNK-SIZE-PLUS", "7.1", chunked(b"+" + CHUNKS), wanted="400|close"),
    refused("SMUG-CHUNK-SIZE-TRAILING-OWS", "7.1", chunked(CHUNKS.replace(b"50", b"50 ", 1)), wanted="400|close"),
    refused("SMUG-CHUNK-LEADING-SP", "7.1", chunked(b" " + CHUNKS), wanted="400|close"),
    refused("SMUG-CHUNK-MISSING-TRAILING-CRLF", "7.1", chunked(b"50\r\n" + BODY + END), wanted="400|close"),
    refused("SMUG-CHUNK-EXT-LF", "7.1.1", chunked(CHUNKS.replace(b"50\r\n", b"50;\n", 1))),
    refused("SMUG-CHUNK-SPILL", "7.1", chunked(b"4e\r\n" + BODY + b"\r\n" + END), wanted="400|close"),
    refused("SMUG-CHUNK-LF-TERM", "7.1", chunked(b"50\r\n" + BODY + b"\n" + END)),
    refused("SMUG-CHUNK-EXT-CTRL", "7.1.1", chunked(CHUNKS.replace(b"50", b"50;\0ext", 1)), wanted="400|close"),
    refused("SMUG-CHUNK-EXT-CR", "7.1.1", chunked(CHUNKS.replace(b"50", b"50;a\rX", 1)), wanted="400|close"),
    refused("SMUG-CHUNK-LF-TRAILER", "7.1", chunked(CHUNK + b"0\r\n\n")),
    refused("SMUG-CHUNK-NEGATIVE", "7.1", chunked(b"-1\r\n" + BODY + b"\r\n" + END), wanted="400|close"),
    refused("SMUG-CHUNK-BARE-CR-TERM", "2.2", chunked(CHUNKS.replace(b"50\r\n", b"50\r", 1)), wanted="400|close"),
    refused("MAL-CHUNK-SIZE-OVERFLOW", "7.1", chunked(b"FFFFFFFFFFFFFFFF0\r\n" + BODY), wanted="400|close"),
    called("MAL-CHUNK-EXT-64K", "7.1.1", chunked(CHUNKS.replace(b"50", b"50;ext=" + b"a" * 65_536, 1)),
           wanted="400|2xx"),
    refused("SMUG-TRAILER-CL", "RFC 9110 6.5.1", chunked(CHUNK + b"0\r\ncontent-length: 50\r\n\r\n"),
            wanted="400|2xx"),
    refused("SMUG-TRAILER-TE", "RFC 9110 6.5.1", chunked(CHUNK + b"0\r\n%b\r\n\r\n" % CHUNKED.encode()),
            wanted="400|2xx"),
    *(
        called(f"SMUG-TRAILER-{name}", "RFC 9110 6.5.1", chunked(CHUNK + b"0\r\n%b\r\n\r\n" % trailer),
               wanted="400|2xx")
        for name, trailer in (
            ("HOST", b"host: other"), ("AUTH", b"authorization: Bearer x"), ("CONTENT-TYPE", b"content-type: text/x"),
        )
    ),
)  # fmt: skip


def carrier(encoding: str, length: str, smuggled: bytes = SMUGGLED, start: bytes = END) -> bytes:
    """A body whose end by its encoding is the start of another request by its length."""
    body = start + smuggled
    return post(length % len(body), *([encoding] if encoding else []), body=body)


PLAIN = "content-length: %d"
PREFIX = get().removesuffix(b"\r\n")
CARRIED = (
    refused("SMUG-CLTE-CONN-CLOSE", "6.1", both(CHUNKED, length="content-length: 5", body=END), get(),
            wanted="400|2xx+close"),
    refused("SMUG-TECL-CONN-CLOSE", "6.1", post(CHUNKED, "content-length: 5", body=END), get(),
            wanted="400|2xx+close"),
    refused("SMUG-CLTE-DESYNC", "6.1", both(CHUNKED, length="content-length: 6", body=END + b"X"), get(),
            wanted="400|close"),
    refused("SMUG-TECL-DESYNC", "6.1", post(CHUNKED, "content-length: 30", body=END + b"X"), get(), wanted="400|close"),
    refused("SMUG-CLTE-SMUGGLED-GET", "6.1", carrier(CHUNKED, PLAIN), wanted="400|close"),
    refused("SMUG-CLTE-SMUGGLED-GET-CL-PLUS", "6.1", carrier(CHUNKED, "content-length: +%d"), wanted="400|close"),
    refused("SMUG-CLTE-SMUGGLED-GET-CL-NON-NUMERIC", "6.1", carrier(CHUNKED, "content-length: %dx"),
            wanted="400|close"),
    refused("SMUG-CLTE-SMUGGLED-GET-TE-OBS-FOLD", "5.2", carrier("transfer-encoding:\r\n chunked", PLAIN),
            wanted="400|close"),
    refused("SMUG-CLTE-SMUGGLED-HEAD", "6.1", carrier(CHUNKED, PLAIN, request("HEAD /livez")), wanted="400|close"),
    refused("SMUG-CLTE-SMUGGLED-GET-TE-TRAILING-SPACE", "6.1", carrier(CHUNKED + " ", PLAIN), wanted="400|close"),
    refused("SMUG-CLTE-SMUGGLED-GET-TE-LEADING-COMMA", "6.1", carrier("transfer-encoding: , chunked", PLAIN),
            wanted="400|close"),
    refused("SMUG-CLTE-SMUGGLED-GET-TE-CASE-MISMATCH", "6.1", carrier("transfer-encoding: Chunked", PLAIN),
            wanted="400|close"),
    refused("SMUG-TE-DUPLICATE-HEADERS-SMUGGLED-GET", "6.1",
            carrier(CHUNKED + "\r\ntransfer-encoding: identity", PLAIN), wanted="400|close"),
    refused("SMUG-TECL-SMUGGLED-GET", "6.1",
            post(CHUNKED, "content-length: 4", body=b"%x\r\n%b\r\n" % (len(SMUGGLED), SMUGGLED) + END),
            wanted="400|close"),
    refused("SMUG-DUPLICATE-CL-SMUGGLED-GET", "RFC 9110 8.6",
            carrier("content-length: 4", PLAIN, start=b"PING"), wanted="400|close"),
    refused("SMUG-CHUNK-INVALID-SIZE-DESYNC", "7.1", chunked(b"+0\r\n\r\nX"), get(), wanted="400|close"),
    refused("SMUG-OPTIONS-TE-OBS-FOLD", "5.2",
            request("OPTIONS /livez", "transfer-encoding:\r\n chunked", LENGTH, body=BODY), get(),
            wanted="400|2xx+close"),
    Case("SMUG-GET-CL-PREFIX-DESYNC", "RFC 9110 9.3.1",
         (request("GET /livez", f"content-length: {len(PREFIX)}", body=PREFIX), b"\r\n" + get()),
         (200, 200), is_closed=False, calls=0, wanted="2xx"),
    Case("SMUG-CL0-BODY-POISON", "6.2",
         (request("POST /v1/admin/deployments/raw/reset", "content-length: 0", body=b"X"), get()), (200, 400),
         is_closed=True, calls=0, wanted="2xx+close"),
    Case("SMUG-GET-CL-BODY-DESYNC", "RFC 9110 9.3.1", (request("GET /livez", LENGTH, body=BODY), get()), (200, 200),
         is_closed=False, calls=0, wanted="2xx+2xx"),
    Case("SMUG-OPTIONS-CL-BODY-DESYNC", "RFC 9110 9.3.7", (request("OPTIONS /livez", LENGTH, body=BODY), get()),
         (204, 200), is_closed=False, calls=0, wanted="2xx+2xx"),
    Case("SMUG-EXPECT-100-CL-DESYNC", "RFC 9110 10.1.1", (post(LENGTH, "expect: 100-continue"), get()), (200, 200),
         is_closed=False, calls=1, wanted="2xx+2xx"),
    Case("SMUG-PIPELINE-SAFE", "9.3", (get() + get(),), (200, 200), is_closed=False, calls=0, wanted="2xx+2xx"),
)  # fmt: skip

SMUGGLING = (*LENGTHS, *ENCODINGS, *CHUNK_LINES, *CARRIED)
