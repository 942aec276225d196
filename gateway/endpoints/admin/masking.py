"""Renders the settings in force as in the configuration file, with every secret masked: secret fields, and the
credentials in the address of the store, before its host or among its options.
"""

from collections.abc import Mapping

import msgspec

from gateway.configuration.redaction import MASK, masked_address
from gateway.configuration.settings import Settings
from gateway.configuration.state import StateSettings
from gateway.configuration.value_types import Secret, yaml_key


def masked(settings: Settings) -> dict[str, object]:
    """Returns the settings as JSON values."""
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
