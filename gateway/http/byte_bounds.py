"""Bounds the bytes of a request outside its body: its head, chunk extensions and trailers."""

from collections.abc import Iterable

HEAD_MOST = 65_536  # bytes of request line and headers; OpenAI recommends that servers accept 64 KiB
OTHER_MOST = 65_536  # bytes after the head and outside the body: chunk extensions and trailers
CHUNK_FRAME = 12  # bytes around a chunk: its size and two line ends
HEAD_TOO_LARGE = 431, b"The request headers are too large."
OTHER_TOO_LARGE = 413, b"The request holds too many bytes outside its body."


class ByteBounds:
    """Counts the bytes of one request on a connection, then of the next. Bytes count as they arrive: neither the length
    of a line nor its split into segments matters.
    """

    def __init__(self) -> None:
        self.is_in_head = True
        self._head = self._last = self._other = self._chunks = self._body = 0

    def received(self, size: int) -> None:
        """Counts bytes as they arrive."""
        self._last = size
        if self.is_in_head:
            self._head += size
        else:
            self._other += size

    def fits_head(self, url: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Ends the head. Returns whether it is within its bound. ``url`` and ``headers``: as parsed from it."""
        # The received bytes may also hold a body and other requests, so the parsed head is only measured when there
        # are more of them than the bound.
        is_small = max(self._head, self._last) <= HEAD_MOST
        self.is_in_head = False
        self._head = self._other = self._chunks = self._body = 0
        return is_small or len(url) + sum(len(name) + len(value) for name, value in headers) <= HEAD_MOST

    def body(self, size: int) -> None:
        self._body += size
        self._other -= size

    def chunk(self) -> None:
        self._chunks += 1
        self._other -= CHUNK_FRAME

    def end(self) -> None:
        """Begins the next head."""
        self.is_in_head, self._head = True, 0

    def excess(self) -> tuple[int, bytes] | None:
        """Returns status and message for a client that has sent too much, else None. Framing may be as large as the
        body.
        """
        if self.is_in_head:
            return HEAD_TOO_LARGE if self._head > HEAD_MOST else None
        self._other = max(self._other, 0)  # the segment that ended the head was not counted
        is_over = self._other > OTHER_MOST or self._chunks * CHUNK_FRAME > OTHER_MOST + self._body
        return OTHER_TOO_LARGE if is_over else None
