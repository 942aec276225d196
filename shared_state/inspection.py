"""One command to the store and its reply as lines: what `pllm state` shows where no redis-cli is installed."""

import asyncio

import redis

from shared_state.client import ask
from shared_state.errors import StateError
from shared_state.topology import Topology

TIMEOUT_S = 5.0


def inspect(url: str, words: list[str]) -> list[str]:
    """Raises StateError when the store refuses the command or does not answer."""
    try:
        # A key of the command tells the Cluster node.
        found = asyncio.run(Topology(url, words[1].encode() if len(words) > 1 else b"").locate(ask))
        with redis.Redis.from_url(found, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S) as client:
            return _lines(client.execute_command(*words))
    except (redis.RedisError, ValueError) as error:
        raise StateError(str(error)) from error


def _lines(reply: object, indent: str = "") -> list[str]:
    if isinstance(reply, dict):
        width = max((len(_word(key)) for key in reply), default=0)
        return [f"{indent}{_word(key):<{width}}  {_word(value)}" for key, value in reply.items()]
    if isinstance(reply, list | tuple | set):
        lines: list[str] = []
        for number, item in enumerate(reply, 1):
            is_nested = isinstance(item, dict | list | tuple)
            lines += [f"{indent}{number})", *_lines(item, indent + "   ")] if is_nested else [f"{indent}{_word(item)}"]
        return lines
    return [indent + _word(reply)]


def _word(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
