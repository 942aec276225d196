"""The answers to a proposed configuration: those of each replica, and the result that the caller of a reload gets."""

from collections import Counter

import msgspec

from gateway.configuration.yaml_source import Problem
from gateway.errors import ConfigurationRefused, Objection
from shared_state.snapshots import Agreement

PREPARE_MS = 10_000  # for reading a file and answering; a replica that dies is missed after half of it
READY = "ready"
RESULTS = ("applied", "refused", "unchanged")

_problems = msgspec.json.Decoder(tuple[Problem, ...])


class Runs(msgspec.Struct, frozen=True):
    """The configuration that one replica runs."""

    version: int
    digest: str


class InForce(msgspec.Struct, frozen=True):
    """The configuration in force, and the one that each replica runs."""

    version: int
    digest: str
    replicas: dict[str, Runs]  # live replicas by name
    behind: list[str]  # replicas whose file is another one


class Reloaded(InForce, frozen=True):
    """The result of a reload."""

    result: str  # applied or unchanged
    changed: list[str]  # names of settings, without values


def reload_counts() -> Counter[str]:
    """Returns the numbers of reloads at this replica, by result: all of them 0."""
    return Counter(dict.fromkeys(RESULTS, 0))


def objections(seen: Agreement) -> dict[str, tuple[Problem, ...]]:
    """Returns the problems by replica. A replica without an answer has one."""
    problems: dict[str, tuple[Problem, ...]] = {}
    for name, replica in sorted(seen.replicas.items()):
        if not replica.answer:
            problems[name] = (Problem("", f"no answer within {PREPARE_MS // 1000} s"),)
        elif replica.answer != READY:
            problems[name] = _problems.decode(replica.answer)
    return problems


def in_force_of(seen: Agreement) -> InForce:
    """Returns the configuration in force and the one that each replica runs."""
    replicas = {name: Runs(replica.version, replica.digest) for name, replica in sorted(seen.replicas.items())}
    meant = ("", seen.fingerprint)  # an earlier release reports none
    behind = [
        name
        for name, replica in sorted(seen.replicas.items())
        if replica.digest != seen.digest or replica.fingerprint not in meant
    ]
    return InForce(seen.version, seen.digest, replicas, behind)


def reloaded(result: str, seen: Agreement, changed: list[str]) -> Reloaded:
    now = in_force_of(seen)
    return Reloaded(now.version, now.digest, now.replicas, now.behind, result, changed)


def refusal(problems: dict[str, tuple[Problem, ...]]) -> ConfigurationRefused:
    """Returns the error for problems by replica; its message names the first one of each."""
    details = tuple(
        Objection(name, problem.path, problem.message) for name, listed in problems.items() for problem in listed
    )
    first = "; ".join(f"{name}: {problem}" for name, listed in problems.items() for problem in listed[:1])
    return ConfigurationRefused(f"The old configuration stays everywhere. {first}", details=details)
