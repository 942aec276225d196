"""An answer in a content coding, although `identity` was requested: some proxies compress everything. It is read as
decoded bytes.
"""

import asyncio
from collections.abc import Callable

from gateway.http.content_codings import Decoder, NotDecodable
from gateway.upstream.http.faults import BodyNotDecodable
from gateway.upstream.http.response import Header, Line, Response

PIECE = 16_384  # bytes: other requests get their turn after each


class DecodedResponse(Response):
    """A Response whose `chunk` and `pass_on` give decoded bytes, and raise BodyNotDecodable where they are damaged."""

    def __init__(self, line: Line, status: int, headers: list[Header], coding: str) -> None:
        super().__init__(line, status, headers)
        self._decoder = Decoder(coding)
        self._is_empty = True  # answers without a body may name a coding too

    async def chunk(self) -> bytes:
        while True:
            if piece := self._piece():
                await asyncio.sleep(0)
                return piece
            raw = await super().chunk()
            if not raw:
                if self._is_empty or self._decoder.is_complete:
                    return b""
                raise BodyNotDecodable
            self._feed(raw)

    async def pass_on(self, sink: Callable[[bytes], bool]) -> None:
        def take(raw: bytes) -> bool:
            self._feed(raw)
            return self._has_passed(sink)

        if self._has_passed(sink):
            await super().pass_on(take)

    def _feed(self, raw: bytes) -> None:
        self._is_empty = False
        self._decoder.feed(raw)

    def _has_passed(self, sink: Callable[[bytes], bool]) -> bool:
        """Returns whether the sink took everything that is decoded, and takes more."""
        while piece := self._piece():
            if not sink(piece):
                return False
        return True

    def _piece(self) -> bytes:
        try:
            return self._decoder.piece(PIECE)
        except NotDecodable as fault:
            raise BodyNotDecodable from fault
