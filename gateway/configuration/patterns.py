"""Patterns of model names, such as `openai/*`: one entry for every model of a provider.

A model of a pattern gets one of a fixed number of deployments, by a hash of its name. So each has limits and a breaker,
all replicas agree on them, and no client can make more of them by inventing names.
"""

import re
import zlib
from collections.abc import Iterable

SLOTS = 16  # deployments of one entry: few enough that each heartbeat can read them
_NAME = re.compile(r"[A-Za-z0-9._:/@-]{1,256}")


def is_pattern(name: str) -> bool:
    return name.endswith("*")


def by_length(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the patterns among these names, the longest first: it is the one that counts."""
    return tuple(sorted(filter(is_pattern, names), key=len, reverse=True))


def pattern_of(name: str, patterns: Iterable[str]) -> str | None:
    """Returns the first of these patterns that a model's name matches."""
    if not _NAME.fullmatch(name):
        return None
    return next((each for each in patterns if name.startswith(each[:-1]) and len(name) >= len(each)), None)


def slot_of(name: str) -> int:
    """Returns the number of the deployment that serves a model."""
    return zlib.crc32(name.encode()) % SLOTS


def slot_ids(deployment_id: str) -> list[str]:
    """Returns the ids of the deployments of an entry with a pattern."""
    return [f"{deployment_id}:slot-{number:x}" for number in range(SLOTS)]


def is_further_slot(deployment_id: str, model_name: str) -> bool:
    """Returns whether this is one of the deployments of an entry with a pattern, but not the first."""
    return is_pattern(model_name) and not deployment_id.endswith(slot_ids("")[0])


def upstream_model(template: str, pattern: str, name: str) -> str:
    """Returns the model's name at the provider: ``template`` with the part that `*` stands for."""
    return template.replace("*", name[len(pattern) - 1 :])
