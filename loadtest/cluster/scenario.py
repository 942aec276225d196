"""A chaos scenario from a file: a local cluster, a load, and steps that change the cluster meanwhile."""

import re
import shlex
from pathlib import Path
from typing import Any

import msgspec

from loadtest.load.flag_values import parse_duration
from loadtest.provider.behaviour import Behaviour, merge

FOLDER = Path(__file__).resolve().parent.parent / "scenarios"
REPLICAS_MOST = 16  # on one machine that also runs all the rest
NOT_ALLOWED = ("url", "failover", "scenario", "json", "html", "admin-key", "fail-over", "slo-under", "h", "help")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # of a deployment, a process and its log


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change, by one of `provider`, `kill` and `start`; without any of them, a note only."""

    at: str
    """From the start of the load."""
    says: str
    """Text for the tables."""
    provider: str | None = None
    behaviour: dict[str, Any] = {}
    """Fields of the provider's behaviour that change."""
    kill: str | None = None
    """`store`, or a replica such as `replica-2`."""
    start: str | None = None

    @property
    def at_s(self) -> float:
        return 0.0 if self.at in ("0", "0s") else parse_duration(self.at)


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    title: str
    load: str
    """Flags of `python -m loadtest`, without addresses."""
    providers: dict[str, dict[str, Any]]
    """Name and behaviour of each; each is one deployment of the model gpt-4."""
    replicas: int = 2
    router: dict[str, Any] = {}
    server: dict[str, Any] = {}
    auth: dict[str, Any] = {}
    """As in the gateway's configuration; without keys a caller's priority is normal at most."""
    deployment: dict[str, Any] = {}
    """Settings of every deployment."""
    steps: list[Step] = []
    note: str = ""
    """Remarks for readers of the tables."""


class BadScenario(Exception):
    """The message has the file and the fault in it."""


def names() -> list[str]:
    """Returns the names of the scenarios that come with the load test."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_scenario(name: str) -> Scenario:
    """Reads a scenario by its name or from a file. Raises BadScenario."""
    path = FOLDER / f"{name}.yaml" if name in names() else Path(name)
    try:
        scenario = msgspec.yaml.decode(path.read_bytes(), type=Scenario)
        _check_cluster(scenario)
        for step in scenario.steps:
            _check(step, scenario)
        _check_order(scenario)
    except OSError:
        raise BadScenario(f"{name!r} is neither a file nor one of {', '.join(names())}") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise BadScenario(f"{path}: {error}") from None
    return scenario


def _check_cluster(scenario: Scenario) -> None:
    """Raises ValueError or msgspec.ValidationError."""
    if not 1 <= scenario.replicas <= REPLICAS_MOST:
        raise ValueError(f"replicas: {scenario.replicas} is not between 1 and {REPLICAS_MOST}")
    if not scenario.providers:
        raise ValueError("providers: at least one is needed")
    for name, behaviour in scenario.providers.items():
        if not _NAME.fullmatch(name) or name in _processes(scenario):
            raise ValueError(
                f"providers: {name!r} is not a valid name: use letters, digits, '.', '_' and '-', but no replica's name"
            )
        merge(Behaviour(), behaviour)
    for word in shlex.split(scenario.load):
        name = word.lstrip("-").partition("=")[0]
        if word.startswith("-") and name in NOT_ALLOWED:
            raise ValueError(f"load: {word} is not allowed, because the scenario has its own cluster and report")


def _check(step: Step, scenario: Scenario) -> None:
    """Raises ValueError or msgspec.ValidationError."""
    _ = step.at_s
    merge(Behaviour(), step.behaviour)
    if sum(part is not None for part in (step.provider, step.kill, step.start)) > 1:
        raise ValueError(f"the step at {step.at} may name only one of provider, kill and start")
    if step.provider is not None and step.provider not in scenario.providers:
        raise ValueError(
            f"the step at {step.at} names the provider {step.provider!r}, which is not one of the providers"
        )
    known = _processes(scenario)
    for name in (step.kill, step.start):
        if name is not None and name not in known:
            raise ValueError(f"the step at {step.at} names {name!r}, which is not one of {', '.join(known)}")


def _check_order(scenario: Scenario) -> None:
    """Refuses to start a running process: a second one would find the port in use, and nothing would end the first."""
    running: set[str | None] = set(_processes(scenario))
    for step in sorted(scenario.steps, key=lambda step: step.at_s):
        if step.start is not None and step.start in running:
            raise ValueError(f"the step at {step.at} starts {step.start}, which is running")
        if step.kill is not None and step.kill not in running:
            raise ValueError(f"the step at {step.at} kills {step.kill}, which is not running")
        running = (running | {step.start}) - {step.kill}


def _processes(scenario: Scenario) -> list[str]:
    return ["store", *(f"replica-{number + 1}" for number in range(scenario.replicas))]
