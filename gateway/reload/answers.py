"""The answers to a proposed configuration: those of each replica, and the result that the caller of a reload gets."""

import msgspec

from gateway.configuration.yaml_source import Problem
from gateway.errors import ConfigurationRefused, Objection
from shared_state.snapshots import Agreement

PREPARE_MS = 10_000  # for reading a file and answering; a replica that dies is missed after half of it
READY = "ready"

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


def objections(seen: Agreement) -> dict[str, tuple[Problem, ...]]:
    """Returns the problems by replica. A replica without an answer has one."""
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
    first = "; ".join(f"{name}: {problem}" for name, found in problems.items() for problem in found[:1])
    return ConfigurationRefused(f"The old configuration stays everywhere. {first}", details=details)
