"""Timers by name: starts, restarts and stops them, so that their owner keeps no handles."""

import asyncio
from collections.abc import Callable, Hashable


class Timers:
    """The timers of one connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handles: dict[Hashable, asyncio.TimerHandle] = {}
        self._is_closed = False

    def __contains__(self, name: Hashable) -> bool:
        return name in self._handles

    def begin(self, name: Hashable, after_s: float, act: Callable[..., object], *arguments: object) -> None:
        self.stop(name)
        if not self._is_closed:
            self._handles[name] = self._loop.call_later(after_s, self._due, name, act, arguments)

    def stop(self, name: Hashable) -> None:
        handle = self._handles.pop(name, None)
        if handle is not None:
            handle.cancel()

    def close(self) -> None:
        """Stops all timers; none can begin afterwards."""
        self._is_closed = True
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()

    def _due(self, name: Hashable, act: Callable[..., object], arguments: tuple[object, ...]) -> None:
        del self._handles[name]
        act(*arguments)
