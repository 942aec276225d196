"""A chaos scenario as a file: a small cluster, a load, and what is done to the cluster meanwhile."""

import re
import shlex
from pathlib import Path
from typing import Any

import msgspec

from loadtest.load.flag_values import parse_duration
from loadtest.provider.behaviour import Behaviour, merge

FOLDER = Path(__file__).resolve().parent.parent / "scenarios"
REPLICAS_MOST = 16  # on one machine that runs all the rest as well
NOT_HERE = ("url", "failover", "scenario", "json", "html", "admin-key", "fail-over", "slo-under", "h", "help")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # of a deployment, a process and its log


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that is done, by one of `provider`, `kill` and `start`; without any it is only said."""

    at: str
    """From the start of the load."""
    says: str
    provider: str | None = None
    behaviour: dict[str, Any] = {}
    """What of the provider's behaviour changes."""
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
    """What a reader of the tables should know."""


class BadScenario(Exception):
    """Says which file, and what is wrong with it."""


def names() -> list[str]:
    """Of the scenarios that come with the load test."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_scenario(name: str) -> Scenario:
    """By its name, or from a file. Raises BadScenario."""
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
                f"providers: {name!r} is no name: letters, digits, '.', '_' and '-', and none of a replica"
            )
        merge(Behaviour(), behaviour)
    for word in shlex.split(scenario.load):
        name = word.lstrip("-").partition("=")[0]
        if word.startswith("-") and name in NOT_HERE:
            raise ValueError(f"load: {word} means nothing here, where the cluster and its report are the scenario's")


def _check(step: Step, scenario: Scenario) -> None:
    """Raises ValueError or msgspec.ValidationError."""
    _ = step.at_s
    merge(Behaviour(), step.behaviour)
    if sum(part is not None for part in (step.provider, step.kill, step.start)) > 1:
        raise ValueError(f"the step at {step.at} may name only one of provider, kill and start")
    if step.provider is not None and step.provider not in scenario.providers:
        raise ValueError(f"the step at {step.at} names the provider {step.provider!r}, which is none of the providers")
    known = _processes(scenario)
    for name in (step.kill, step.start):
        if name is not None and name not in known:
            raise ValueError(f"the step at {step.at} names {name!r}, which is none of {', '.join(known)}")


def _check_order(scenario: Scenario) -> None:
    """What runs cannot be started: its second process would find the port taken, and nobody would end the first."""
    running: set[str | None] = set(_processes(scenario))
    for step in sorted(scenario.steps, key=lambda step: step.at_s):
        if step.start is not None and step.start in running:
            raise ValueError(f"the step at {step.at} starts {step.start}, which runs")
        if step.kill is not None and step.kill not in running:
            raise ValueError(f"the step at {step.at} kills {step.kill}, which does not run")
        running = (running | {step.start}) - {step.kill}


def _processes(scenario: Scenario) -> list[str]:
    return ["store", *(f"replica-{number + 1}" for number in range(scenario.replicas))]
