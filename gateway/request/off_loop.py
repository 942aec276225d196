"""Runs work on large bodies off the event loop.

All of it shares one thread: with several, the loop would have to wait for the interpreter's lock behind each of them.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

LARGE = 262_144  # bytes: translating a smaller body takes less than 20 ms, whatever it holds
LARGE_CHUNK = 16_384  # bytes of a stream, which may hold thousands of events

_P = ParamSpec("_P")
_T = TypeVar("_T")
_thread = ThreadPoolExecutor(1, "pllm-bodies")


async def off_loop(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Returns and raises as ``work`` does. A cancelled call lets its work finish and ignores the result."""
    return await asyncio.get_running_loop().run_in_executor(_thread, lambda: work(*args, **kwargs))


async def off_loop_if(is_large: bool, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    return await off_loop(work, *args, **kwargs) if is_large else work(*args, **kwargs)
