"""The address of a store, parsed once and strictly. redis-py ignores what it cannot parse (a database that is not a
number, everything after a `#`) and connects elsewhere; such addresses are refused here. Each part is decoded once and
encoded once, so a password may hold any character.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote, urlencode, urlsplit

import msgspec
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import RedisError

SEEDS_MOST = 32
_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
_SENTINEL_PORT, _PORT = 26379, 6379
_URL = re.compile(r"([^:]+)://([^/?#]*)([^?#]*)(?:\?([^#]*))?")
_DATABASE = re.compile(r"[0-9]{1,9}")

# The invalid part may belong to a password, so no message repeats it.
_UNREADABLE = "the address cannot be read (special characters of a password must be percent-encoded)"
_UNKNOWN_OPTION = "the address has an unknown option, or an option with an invalid value"
_NO_NUMBER = "the database in the address must be a number, as in redis://host:6379/0"

Place = tuple[str, int]  # host and port


class StoreAddress(msgspec.Struct, frozen=True, kw_only=True):
    """An address in decoded parts. ``kind``: sentinel, cluster or empty; ``where``: host and port of a single server as
    written, or the path of its socket; ``seeds``: the Sentinels, or the nodes of the Cluster.
    """

    scheme: str
    kind: str
    where: str
    seeds: tuple[Place, ...]
    service: str
    database: str
    user: tuple[str, str]
    sentinel_user: tuple[str, str]
    options: tuple[tuple[str, str], ...]

    @property
    def single(self) -> str:
        """The URL of the only server."""
        path = self.database and f"/{self.database}"
        if self.scheme != "unix":
            return self._url(self.user, self.where, path, self.options)
        database = (("db", self.database),) if self.database else ()
        return self._url(self.user, "", quote(self.where), (*self.options, *database))

    def server(self, place: Place) -> str:
        """Returns the URL of one of several servers."""
        return self._url(self.user, netloc(place), self.database and f"/{self.database}", self.options)

    def sentinel(self, place: Place) -> str:
        """Returns the URL of one Sentinel, which never gets the password of the store."""
        return self._url(self.sentinel_user, netloc(place), "", self.options)

    def _url(self, user: tuple[str, str], where: str, path: str, options: Iterable[tuple[str, str]]) -> str:
        name, password = (quote(part, safe="") for part in user)
        sign_in = f"{name}:{password}@" if password else name and f"{name}@"
        query = urlencode(tuple(options), quote_via=quote)
        return f"{self.scheme}://{sign_in}{where}{path}" + (f"?{query}" if query else "")


def parse(url: str) -> StoreAddress:
    """Parses an address. Raises ValueError, whose message never shows a part of the address."""
    if url.partition("://")[0].lower() not in _SCHEMES:
        raise ValueError(f"the address must begin with one of {', '.join(f'{s}://' for s in _SCHEMES)}")
    if (parts := _URL.fullmatch(url)) is None:
        raise ValueError(_UNREADABLE)
    scheme, _, kind = parts[1].lower().partition("+")
    sign_in, _, hosts = parts[2].rpartition("@")
    name, _, password = sign_in.partition(":")
    path, options = parts[3], _options(parts[4] or "")
    user = (options.pop("username", ""), options.pop("password", ""))
    user = (_decoded(name) or user[0], _decoded(password) or user[1])
    sentinel_user = (options.pop("sentinel_username", ""), options.pop("sentinel_password", ""))
    if any(sentinel_user) and kind != "sentinel":
        raise ValueError(_UNKNOWN_OPTION)
    seeds = _seeds(hosts, _SENTINEL_PORT if kind == "sentinel" else _PORT) if kind else ()
    where = "" if kind else _socket(hosts, path) if scheme == "unix" else _single(hosts)
    service, path = _service(path) if kind == "sentinel" else ("", path)
    database = _database("" if scheme == "unix" else path, options.pop("db", ""))
    if kind == "cluster" and int(database or 0):
        raise ValueError("a Cluster has only database 0")
    address = StoreAddress(
        scheme=scheme,
        kind=kind,
        where=where,
        seeds=seeds,
        service=service,
        database=database,
        user=user,
        sentinel_user=sentinel_user,
        options=tuple(options.items()),
    )
    _try_options(address)
    return address


def netloc(place: Place) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def without_passwords(text: str, url: str) -> str:
    """Masks the passwords of one server's ``url`` in a text: a server may repeat what it received in its errors."""
    parts = urlsplit(url)
    for secret in (parts.password or "", unquote(parts.password or "")):
        text = text.replace(secret, "***") if secret else text
    return text


def _decoded(text: str) -> str:
    """Decodes percent-encoding. Raises ValueError for invalid UTF-8. A plus stays a plus: passwords hold more of them
    than blanks.
    """
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(_UNREADABLE) from None


def _options(query: str) -> dict[str, str]:
    """Returns the options of the query. Raises ValueError."""
    options: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, is_given, value = pair.partition("=")
        if not name or not is_given:
            raise ValueError(_UNREADABLE)
        if _decoded(name) in options:
            raise ValueError(_UNKNOWN_OPTION)
        options[_decoded(name)] = _decoded(value)
    return options


def _service(path: str) -> tuple[str, str]:
    """Returns the name of the service, and the path of the database. Raises ValueError."""
    name, _, database = path.removeprefix("/").partition("/")
    if not name:
        raise ValueError("a Sentinel address ends in the name of its service: redis+sentinel://host:26379/name")
    return _decoded(name), database


def _database(path: str, option: str) -> str:
    """Returns the number of the database, empty without one. Raises ValueError."""
    given = {found for found in (path.strip("/"), option) if found}
    if len(given) > 1 or "//" in path or not all(_DATABASE.fullmatch(found) for found in given):
        raise ValueError(_NO_NUMBER)
    return given.pop() if given else ""


def _socket(host: str, path: str) -> str:
    """Returns the path of the socket. Raises ValueError for text between the second and the third slash, which redis-py
    would ignore.
    """
    if host or path in ("", "/"):
        raise ValueError("the path of a socket follows three slashes: unix:///run/store.sock")
    return _decoded(path)


def _single(hosts: str) -> str:
    """Returns host and port as written, with localhost where the host is left out. Raises ValueError."""
    if "," in hosts:
        raise ValueError("redis:// has one host; redis+sentinel:// and redis+cluster:// have several")
    place = _place(hosts, _PORT) if hosts.partition(":")[0] else _place(f"localhost{hosts}", _PORT)
    return hosts if hosts.partition(":")[0] else netloc(place)


def _seeds(hosts: str, port: int) -> tuple[Place, ...]:
    """Returns the hosts of the address, each once. Raises ValueError."""
    seeds = tuple(dict.fromkeys(_place(host, port) for host in hosts.split(",")))
    if len(seeds) > SEEDS_MOST:
        raise ValueError(f"the address has {len(seeds)} hosts, at most {SEEDS_MOST} are allowed")
    return seeds


def _place(text: str, port: int) -> Place:
    """Returns host and port. Raises ValueError."""
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, given = parts.hostname, parts.port
    except ValueError:
        raise ValueError(_UNREADABLE) from None
    if not host or given == 0 or any(character.isspace() for character in host):
        raise ValueError(_UNREADABLE)
    return host, given or port


def _try_options(address: StoreAddress) -> None:
    """Tries the options. Raises ValueError for options that redis-py does not have."""
    url = address.server(("localhost", _PORT)) if address.kind else address.single
    try:
        ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]
    except ValueError:
        raise ValueError(_UNREADABLE) from None
    except (TypeError, RedisError):
        raise ValueError(_UNKNOWN_OPTION) from None
