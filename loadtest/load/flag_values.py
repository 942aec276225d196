"""Parses values of flags and scenario files that are more than a number: durations, mixes, objectives.

All functions raise ValueError with a reason for the user.
"""

import math
import re

from loadtest.load.requests import Choice
from loadtest.load.slo import Slo

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_OBJECTIVES = ("ttft", "gap", "latency")


def parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"invalid: {text!r} is not a number") from None


def parse_duration(text: str) -> float:
    """Returns seconds, from 30s, 500ms, 1m30s or a plain number of seconds."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return parse_positive(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration such as 30s, 500ms or 1m30s")
    return parse_positive(str(sum(float(number) * _SECONDS[unit] for number, unit in parts)))


def parse_positive(text: str) -> float:
    value = parse_number(text)
    if math.isinf(value) and value > 0:
        raise ValueError(f"{text} is infinite")
    if not value > 0:
        raise ValueError(f"{text} is not more than 0")
    return value


def parse_mix(text: str) -> tuple[Choice, ...]:
    """Parses a=70,b=30 or a,b or a alone; the numbers are relative to each other."""
    if not text.strip():
        raise ValueError(f"{text!r} has no name")
    if "=" not in text and "," not in text:
        return (Choice(text),)
    shares = []
    for part in text.split(","):
        name, equals, weight = part.strip().rpartition("=") if "=" in part else (part.strip(), "=", "1")
        if not name or not equals:
            raise ValueError(f"{text!r} is not a mix such as a=70,b=30")
        shares.append(Choice(name.strip(), parse_positive(weight)))
    if len({share.name for share in shares}) < len(shares):
        raise ValueError(f"{text!r} has a name twice")
    return tuple(shares)


def parse_slo(text: str) -> Slo:
    """Parses ttft=500ms,latency=5s."""
    limits = {}
    for part in text.split(","):
        name, _, limit = part.partition("=")
        if name.strip() not in _OBJECTIVES:
            raise ValueError(
                f"{name.strip()!r} is not one of {', '.join(_OBJECTIVES)}; an objective is, for example, ttft=500ms"
            )
        if f"{name.strip()}_ms" in limits:
            raise ValueError(f"{name.strip()} has two limits")
        limits[f"{name.strip()}_ms"] = 1000 * parse_duration(limit.strip())
    return Slo(**limits)
