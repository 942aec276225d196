"""Finds out which product the store is, and whether it has what the scripts need. It tries each feature, because
products that speak the Redis protocol differ in ways that their names and versions do not show.
"""

import re
from typing import NamedTuple

from shared_state.connection.client import Client
from shared_state.errors import StateError, StoreRefuses
from shared_state.keys import Keys
from shared_state.scripts import assemble

TESTED_FROM = (7, 0)  # of Redis and Valkey
WANTED = "use Redis or Valkey 7.0 or later"
_VERSIONS = re.compile(r"^([a-z]+)_version:(\S+)", re.MULTILINE)
_NOT_PRODUCTS = ("redis", "gcc", "engine", "os")  # every imitator names a version of Redis as well
_NAMES = {"keydb": "KeyDB", "redis": "Redis"}


class Product(NamedTuple):
    """The product of a server. ``name``: from INFO, empty where INFO has none; ``lacks``: the missing features, in
    words.
    """

    name: str
    version: str
    lacks: tuple[str, ...]

    @property
    def full_name(self) -> str:
        return f"{self.name or 'an unknown product'} {self.version}".strip()

    @property
    def is_tested(self) -> bool:
        numbers = tuple(int(number) for number in re.findall(r"\d+", self.version)[:2])
        return self.name in ("Redis", "Valkey") and numbers >= TESTED_FROM


async def product_of(client: Client, keys: Keys) -> Product:
    """Returns the product. Raises StoreUnavailable."""
    script = assemble("fitness")
    names = (keys.domain, keys.window, keys.events, keys.leases)
    call = (b"EVALSHA", script.sha.encode(), b"%d" % len(names), *names, b"told:")
    info, loaded, missing = await client.execute((b"INFO", b"server"), (b"SCRIPT", b"LOAD", script.text.encode()), call)
    refused = next((reply for reply in (loaded, missing) if isinstance(reply, StoreRefuses)), None)
    if refused is not None:
        raise refused
    name, version = named(info.decode(errors="replace") if isinstance(info, bytes) else "")
    if isinstance(missing, list):
        return Product(name, version, tuple(str(each, errors="replace") for each in missing if isinstance(each, bytes)))
    problem = next((reply for reply in (loaded, missing) if isinstance(reply, StateError)), "no script's reply")
    return Product(name, version, (f"Lua scripts ({problem})",))


def named(info: str) -> tuple[str, str]:
    """Returns name and version from the section `server` of INFO."""
    versions = dict(_VERSIONS.findall(info))
    if "keydb-server" in info:
        return _NAMES["keydb"], versions.get("redis", "")
    for name, version in versions.items():
        if name not in _NOT_PRODUCTS:
            return _NAMES.get(name, name.capitalize()), version
    return ("Redis", versions["redis"]) if "redis" in versions else ("", "")
