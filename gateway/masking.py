"""The settings in force as they would be written down, with every secret masked: those that are fields, and what an
address holds before its host and among its options.
"""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

import msgspec

from gateway.setting_types import Secret, yaml_key
from gateway.settings import Settings, StateSettings

MASK = "***"
# Options of a store's address that say nothing worth hiding; what is not known here may be a password.
_PLAIN_OPTIONS = (
    "db",
    "protocol",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_certfile",
)


def masked(settings: Settings) -> dict[str, object]:
    return _struct(settings)


def _struct(value: msgspec.Struct) -> dict[str, object]:
    fields = msgspec.structs.asdict(value)
    shown = {yaml_key(name): _shown(name, each) for name, each in fields.items()}
    if isinstance(value, StateSettings) and value.url:
        shown["url"] = masked_address(str(value.url))
    return shown


def _shown(name: str, value: object) -> object:
    match value:
        case msgspec.Struct():
            return _struct(value)
        case Secret():
            return MASK if value else ""
        case Mapping():
            return {key: _shown("", each) for key, each in value.items()}
        case tuple():
            return [_shown("", each) for each in value]
        case int() if name.endswith("_ms"):
            return f"{value}ms" if value % 1000 else f"{value // 1000}s"
    return value


def masked_address(address: str) -> str:
    """`redis://user:password@host/0?option=…`, what may be secret in it masked."""
    try:
        parts = urlsplit(address)
        options = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    user = f"{MASK}@" if "@" in parts.netloc else ""
    query = "&".join(f"{name}={value if name in _PLAIN_OPTIONS else MASK}" for name, value in options)
    return f"{parts.scheme}://{user}{host}{parts.path}" + (f"?{query}" if query else "")
