"""The types of settings: the values that each accepts, and the message that refuses the rest.

`description` completes the sentence "expected …". `extra["read"]` turns the written form into the stored one and raises
ValueError, always without the value, which may be a secret in the wrong place.
"""

import ipaddress
import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from gateway.configuration.redaction import secrets_of_text

DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,12})?) ?(ms|s|m|h|d)?", re.ASCII)
_DURATION_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,12})?) ?(B|KB|MB|GB|KiB|MiB|GiB)?", re.ASCII)
_SIZE_UNITS = {
    "B": 1,
    "KB": 1_000,
    "MB": 1_000**2,
    "GB": 1_000**3,
    "KiB": 1_024,
    "MiB": 1_024**2,
    "GiB": 1_024**3,
}


def yaml_key(field: str) -> str:
    """Returns a field's key in YAML. The unit is part of the field's name, but in YAML part of the value."""
    return field.removesuffix("_ms").removesuffix("_bytes")


class Secret(str):
    """Text that its repr does not show, and neither does the repr of a Struct that holds it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(***)" if self else "Secret('')"


def secrets(value: object) -> Iterator[str]:
    """Yields every secret of a configuration; for an address with a password, also the password alone."""
    if isinstance(value, Secret):
        yield from secrets_of_text(str(value))
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from secrets(getattr(value, field))
    elif isinstance(value, tuple):
        for each in value:
            yield from secrets(each)


def duration_ms(value: object) -> int:
    """Reads `30s`, `250ms`, `2m`, `1h`, `30d`, `1.5s` or a number of seconds. Raises ValueError for anything else."""
    return round(_amount(value, DURATION, _DURATION_UNITS_MS, number_unit=1_000))


def size_bytes(value: object) -> int:
    """Reads `10MiB`, `512KiB`, `1MB` or a number of bytes. Raises ValueError for anything else."""
    return round(_amount(value, SIZE, _SIZE_UNITS, number_unit=1))


def _amount(value: object, pattern: re.Pattern[str], units: Mapping[str, int], number_unit: int) -> float:
    if isinstance(value, str):
        match = pattern.fullmatch(value)
        if match is None:
            raise ValueError
        return float(match.group(1)) * units.get(match.group(2), number_unit)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return value * number_unit


def _secret(value: object) -> Secret:
    """Refuses blanks and line breaks: they would make every request fail, or add a header to it. Raises ValueError."""
    if not isinstance(value, str) or not all("!" <= character <= "~" for character in value):
        raise ValueError
    return Secret(value)


def _given_secret(value: object) -> Secret:
    if not value:
        raise ValueError
    return _secret(value)


def _url(value: object) -> str:
    """Returns the address without its last slash, as paths are appended to it. Raises ValueError."""
    parts = urlsplit(_secret(value))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError
    return parts.geturl().rstrip("/")


def _network(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return str(ipaddress.ip_network(value))


# A longer wait makes no sense: the number was probably meant as milliseconds.
_LONGEST_MS = 24 * _DURATION_UNITS_MS["h"]
_LARGEST = 1_000_000_000

Duration = Annotated[
    int,
    msgspec.Meta(
        gt=0,
        le=_LONGEST_MS,
        description="a duration above 0 and up to 24h, such as 30s, 250ms or a number of seconds",
        extra={"read": duration_ms},
    ),
]
Allowance = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        le=_LONGEST_MS,
        description="a duration up to 24h, such as 0, 30s, 250ms or a number of seconds",
        extra={"read": duration_ms},
    ),
]
Retention = Annotated[
    int,
    msgspec.Meta(
        ge=60_000,
        le=400 * _DURATION_UNITS_MS["d"],
        description="a duration from 1m to 400d, such as 30d, 12h or a number of seconds",
        extra={"read": duration_ms},
    ),
]
Size = Annotated[
    int,
    msgspec.Meta(gt=0, description="a size above 0, such as 10MiB or a number of bytes", extra={"read": size_bytes}),
]
Count = Annotated[int, msgspec.Meta(ge=1, le=_LARGEST, description=f"a whole number from 1 to {_LARGEST}")]
Level = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST, description=f"a whole number from 0 to {_LARGEST}")]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535, description="a port from 1 to 65535")]
Ratio = Annotated[float, msgspec.Meta(ge=0, le=1, description="a number from 0 to 1")]
Threshold = Annotated[float, msgspec.Meta(gt=0, le=1, description="a number above 0 and up to 1")]
Score = Annotated[float, msgspec.Meta(ge=0, le=100, description="a number from 0 to 100")]
# Lua divides shares by it: a smaller one could become infinity, which JSON does not have.
Weight = Annotated[float, msgspec.Meta(ge=0.001, le=_LARGEST, description=f"a number from 0.001 to {_LARGEST}")]
Amount = Annotated[float, msgspec.Meta(ge=0, le=_LARGEST, description=f"a number from 0 to {_LARGEST}")]
Factor = Annotated[float, msgspec.Meta(ge=1, le=_LARGEST, description=f"a number from 1 to {_LARGEST}")]
Text = Annotated[str, msgspec.Meta(min_length=1, description="text that is not empty")]
Url = Annotated[
    str,
    msgspec.Meta(description="an http or https address without a password or a query", extra={"read": _url}),
]
Network = Annotated[
    str,
    msgspec.Meta(
        description="an address or a network such as 10.0.0.0/8 or fd00::/8, without host bits",
        extra={"read": _network},
    ),
]
# Both become parts of Redis keys: a brace would change the Cluster slot, and a blank would end a word.
Identifier = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A[A-Za-z0-9._:/@-]{1,64}\Z",
        description="1 to 64 letters, digits or any of . _ : / @ -",
    ),
]
Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A[A-Za-z0-9._:/@-]{1,256}\Z",
        description="1 to 256 letters, digits or any of . _ : / @ -",
    ),
]
ModelName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A[A-Za-z0-9._:/@-]{0,255}[A-Za-z0-9._:/@*-]\Z",
        description="1 to 256 letters, digits or any of . _ : / @ -, or a pattern that ends in *",
    ),
]
# A region must not look like a number to Lua.
Region = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A(?!(?i:nan|inf|infinity)\Z)[A-Za-z][A-Za-z0-9._-]{0,63}\Z",
        description="1 to 64 letters, digits or any of . _ -, beginning with a letter",
    ),
]
OptionalSecret = Annotated[
    Secret,
    msgspec.Meta(description="text of visible ASCII characters, without blanks", extra={"read": _secret}),
]
RequiredSecret = Annotated[
    Secret,
    msgspec.Meta(
        description="text of visible ASCII characters, not empty, without blanks",
        extra={"read": _given_secret},
    ),
]
