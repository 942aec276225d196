"""Pauses and resumes the reading of a connection: it reads only while no holder has paused it."""

import asyncio


class Reading:
    """The reading of one transport and its holders, by name."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._holders: set[str] = set()

    def hold(self, why: str) -> None:
        if not self._holders and not self._transport.is_closing():
            self._transport.pause_reading()
        self._holders.add(why)

    def release(self, why: str) -> None:
        if why in self._holders:
            self._holders.remove(why)
            if not self._holders and not self._transport.is_closing():
                self._transport.resume_reading()
