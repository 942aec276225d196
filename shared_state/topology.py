"""Where the server is that takes our calls: one address, the master that Sentinels name, or the Cluster node that owns
the domain's slot. A domain has one hash tag, so all of its keys are in one slot and one connection is enough.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.asyncio.connection import ConnectionPool
from redis.crc import key_slot
from redis.exceptions import RedisError

from shared_state.errors import StateError, StoreUnavailable

ANSWER_TIMEOUT_S = 0.5
SEEDS_MOST = 32
_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_SENTINEL_PORT, _PORT = 26379, 6379

# What is wrong in an address may be a part of its password: it is not repeated.
_UNREADABLE = ValueError("the address cannot be read (special characters of a password must be percent-encoded)")
_UNKNOWN_OPTION = ValueError("the address has an option that does not exist, or one with a value that it cannot have")

Address = tuple[str, int]
# Runs commands on the server at an address; raises StateError. An error reply is a StateError in the list.
Ask = Callable[..., Awaitable[list[Any]]]


class Topology:
    """``url``: redis://, rediss:// (TLS) or unix://; redis+sentinel://host:port,host:port/service; or
    redis+cluster://host:port,host:port. User and password as usual; TLS files in the query (ssl_ca_certs, …).
    ``key`` is any key of the domain. Raises ValueError for a url that cannot be right.
    """

    def __init__(self, url: str, key: bytes = b"") -> None:
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES:
            raise ValueError(f"the address must begin with one of {', '.join(f'{s}://' for s in _SCHEMES)}")
        self._url = url
        self._scheme, _, self._kind = parts.scheme.partition("+")
        self._user, _, hosts = parts.netloc.rpartition("@")
        query = dict(parse_qsl(parts.query))
        names = (query.pop("sentinel_username", ""), query.pop("sentinel_password", ""))
        self._sentinel_user = ":".join(names) if any(names) else ""
        self._query, self._path = urlencode(query), parts.path
        self._slot = key_slot(key)
        self._seeds: list[Address] = []
        if self._kind:
            port = _SENTINEL_PORT if self._kind == "sentinel" else _PORT
            self._seeds = [_address(host, port) for host in hosts.split(",")]
        if self._kind == "sentinel":
            self._service, _, database = parts.path.strip("/").partition("/")
            self._path = f"/{database}" if database else ""
            if not self._service:
                raise ValueError("a Sentinel address ends in the name of its service: redis+sentinel://host:26379/name")
        try:
            ConnectionPool.from_url(self._server(("localhost", _PORT)) if self._kind else url).make_connection()  # type: ignore[no-untyped-call]
        except ValueError:
            raise _UNREADABLE from None
        except (TypeError, RedisError):
            raise _UNKNOWN_OPTION from None

    @property
    def is_cluster(self) -> bool:
        return self._kind == "cluster"

    async def locate(self, ask: Ask) -> str:
        """The address of the server to connect to now. Raises StoreUnavailable."""
        if self._kind == "sentinel":
            return self._server(await self._first(ask, self._ask_sentinel))
        if self.is_cluster:
            return self._server(await self._first(ask, self._ask_node))
        return self._url

    def _server(self, address: Address) -> str:
        user = f"{self._user}@" if self._user else ""
        return f"{self._scheme}://{user}{_netloc(address)}{self._path}" + (f"?{self._query}" if self._query else "")

    async def _first(self, ask: Ask, find: Callable[[Ask, Address], Awaitable[Address]]) -> Address:
        """The first answer of all that are asked at once, so that one which hangs costs nothing."""
        tasks = [asyncio.ensure_future(find(ask, seed)) for seed in self._seeds]
        problem: Exception = TimeoutError()
        try:
            for task in asyncio.as_completed(tasks, timeout=ANSWER_TIMEOUT_S):
                try:
                    return await task
                except (StateError, LookupError, TimeoutError) as error:
                    problem = error
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        raise StoreUnavailable(f"no {self._kind} address tells where the store is: {problem or 'no answer in time'}")

    async def _ask_sentinel(self, ask: Ask, seed: Address) -> Address:
        user = f"{self._sentinel_user}@" if self._sentinel_user else ""
        url = f"{self._scheme}://{user}{_netloc(seed)}" + (f"?{self._query}" if self._query else "")
        [found] = await ask(url, (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self._service.encode()))
        if not isinstance(found, list):
            raise LookupError(str(found) if isinstance(found, StateError) else f"no service named {self._service}")
        return (found[0].decode(), int(found[1]))

    async def _ask_node(self, ask: Ask, seed: Address) -> Address:
        [ranges] = await ask(self._server(seed), (b"CLUSTER", b"SLOTS"))
        if not isinstance(ranges, list):
            raise LookupError(str(ranges))
        for first, last, master, *_ in ranges:
            if first <= self._slot <= last:
                # All nodes of now can be asked the next time, also when every seed is gone. A node that does not know
                # its own host leaves it out.
                nodes = [(node[0].decode(), node[1]) for _, _, *nodes in ranges for node in nodes if node[0]]
                self._seeds = list(dict.fromkeys([*nodes, *self._seeds]))[:SEEDS_MOST]
                return (master[0].decode() if master[0] else seed[0], master[1])
        raise LookupError(f"nobody owns slot {self._slot}")


def _address(text: str, port: int) -> Address:
    """Raises ValueError."""
    try:
        parts = urlsplit(f"//{text.strip()}")
        found = (parts.hostname, parts.port or port)
    except ValueError:
        raise _UNREADABLE from None
    if not found[0]:
        raise _UNREADABLE
    return (found[0], found[1])


def _netloc(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
