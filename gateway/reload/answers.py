"""What is said of a configuration: by each replica to the others, and by all of them to whoever asked."""

from collections import Counter

import msgspec

from gateway.configuration.yaml_source import Problem
from gateway.errors import ConfigurationRefused, Objection
from shared_state.snapshots import Agreement

PREPARE_MS = 10_000  # to read a file and answer; one that dies meanwhile is missed after half of it
READY = "ready"
RESULTS = ("applied", "refused", "unchanged")

_problems = msgspec.json.Decoder(tuple[Problem, ...])


class Runs(msgspec.Struct, frozen=True):
    version: int
    digest: str


class InForce(msgspec.Struct, frozen=True):
    """``replicas``: version and digest that each one which lives runs; ``behind``: those with another file."""

    version: int
    digest: str
    replicas: dict[str, Runs]
    behind: list[str]


class Reloaded(InForce, frozen=True):
    """``changed``: names, no values."""

    result: str
    changed: list[str]


def reload_counts() -> Counter[str]:
    """Returns the numbers of reloads at this replica, by result: all of them 0."""
    return Counter(dict.fromkeys(RESULTS, 0))


def objections(seen: Agreement) -> dict[str, tuple[Problem, ...]]:
    """By replica."""
    found: dict[str, tuple[Problem, ...]] = {}
    for name, each in sorted(seen.replicas.items()):
        if not each.answer:
            found[name] = (Problem("", f"no answer within {PREPARE_MS // 1000} s"),)
        elif each.answer != READY:
            found[name] = _problems.decode(each.answer)
    return found


def in_force_of(seen: Agreement) -> InForce:
    replicas = {name: Runs(each.version, each.digest) for name, each in sorted(seen.replicas.items())}
    meant = ("", seen.fingerprint)  # an earlier release reports none
    behind = [
        name
        for name, each in sorted(seen.replicas.items())
        if each.digest != seen.digest or each.fingerprint not in meant
    ]
    return InForce(seen.version, seen.digest, replicas, behind)


def reloaded(result: str, seen: Agreement, changed: list[str]) -> Reloaded:
    now = in_force_of(seen)
    return Reloaded(now.version, now.digest, now.replicas, now.behind, result, changed)


def refusal(problems: dict[str, tuple[Problem, ...]]) -> ConfigurationRefused:
    details = tuple(Objection(name, each.path, each.message) for name, found in problems.items() for each in found)
    told = "; ".join(f"{name}: {each}" for name, found in problems.items() for each in found[:1])
    return ConfigurationRefused(f"The old configuration stays everywhere. {told}", details=details)
