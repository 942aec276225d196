"""Our configuration so far, and our names for the names of the other configuration."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from gateway.cli.litellm.providers import AZURE_BASE, PROVIDERS
from gateway.cli.litellm.report import Report, Unusable
from gateway.cli.litellm.values import Variables
from gateway.configuration.patterns import SLOTS, by_length, is_pattern, pattern_of
from gateway.configuration.router import RouterSettings
from gateway.configuration.rules import MAX_CANDIDATES, MAX_DEPLOYMENTS

_PATTERN = re.compile(r"[A-Za-z0-9._:/@-]{0,255}\*")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._:/@-]+")
_NAME_LENGTH = 256


class Draft:
    """A configuration that is being written. "Theirs" is the configuration that is read."""

    def __init__(self, document: object) -> None:
        self.report = Report()
        self.variables = Variables(document, {AZURE_BASE, *(each.key for each in PROVIDERS.values())})
        self.deployments: list[dict[str, Any]] = []
        self.origins: list[str] = []  # the path of each deployment in their file
        self.router: dict[str, Any] = {}
        self.auth: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.models: dict[str, str] = {}  # their name to our model
        self.aliases: dict[str, str] = {}  # their alias to our model
        self.longest_chain: int | None = None

    def document(self) -> dict[str, Any]:
        sections = {"state": self.state, "auth": self.auth, "router": self.router, "model_list": self.deployments}
        router = {key: value for key, value in self.router.items() if value != {}}
        return {name: section for name, section in {**sections, "router": router}.items() if section}

    def model(self, name: object) -> str | None:
        """Returns our model for a name or an alias of theirs."""
        return self.models.get(str(name)) or self.aliases.get(str(name))

    def target(self, name: object) -> str | None:
        """Returns our model for a name, an alias, or a name that matches a pattern; a pattern itself is no target."""
        model = self.model(name)
        if model is None and pattern_of(str(name), by_length(self.models.values())):
            return str(name)
        return None if model is None or is_pattern(model) else model

    def enabled(self) -> Counter[str]:
        return Counter(entry["model_name"] for entry in self.deployments if entry.get("enabled", True))

    def keep_within_limits(self) -> None:
        """Disables surplus deployments, and removes models without an enabled one."""
        count: Counter[str] = Counter()
        total = 0
        for entry, origin in zip(self.deployments, self.origins, strict=True):
            if not entry.get("enabled", True):
                continue
            size = SLOTS if is_pattern(entry["model_name"]) else 1
            if count[entry["model_name"]] == MAX_CANDIDATES or total + size > MAX_DEPLOYMENTS:
                entry["enabled"] = False
                self.report.approximated(
                    f"{origin}.model_name",
                    f"enabled: false; at most {MAX_CANDIDATES} of a model and {MAX_DEPLOYMENTS} in all can be enabled",
                )
            else:
                count[entry["model_name"]] += 1
                total += size
        for k in reversed(range(len(self.deployments))):
            if not count[self.deployments[k]["model_name"]]:
                self.report.ignored_with_all(self.origins.pop(k), "no deployment of its model is enabled")
                del self.deployments[k]
        self.models = {theirs: ours for theirs, ours in self.models.items() if count[ours]}

    def each(self, path: str, handle: Callable[[], None]) -> None:
        """Runs ``handle``, which converts the value at a path, and reports a value that it cannot use."""
        try:
            handle()
        except Unusable as problem:
            self.report.ignored(path, str(problem))

    def put(self, section: dict[str, Any], key: str, value: object) -> None:
        """Sets a key of our router. Raises Unusable if the settings refuse it."""
        self.variables.put(section, RouterSettings, key, value)


def unique(name: str, used: Iterable[str], longest: int) -> str:
    """Returns the name, with a number at its end if it is used already."""
    found, count = name[:longest], 1
    while found in used:
        count += 1
        ending = f"-{count}"
        found = name[: longest - len(ending)] + ending
    return found


def model_names(names: Iterable[str]) -> dict[str, str]:
    """Maps their names to valid names of ours, different ones to different ones. Wildcards that our patterns cannot
    express have none.
    """
    given = dict.fromkeys(names)
    wanted = [name for name in given if "*" not in name]
    fit = {name: name for name in wanted if name and name == plain_name(name)}
    fit |= {name: name for name in given if _PATTERN.fullmatch(name)}
    for name in wanted:
        if name not in fit and (plain := plain_name(name)):
            fit[name] = unique(plain, fit.values(), _NAME_LENGTH)
    return fit


def plain_name(name: str) -> str:
    return _NOT_IN_A_NAME.sub("-", name).strip("-")[:_NAME_LENGTH]


def deployment_id(wanted: str, used: Iterable[str], longest: int) -> str:
    return unique(plain_name(wanted) or "deployment", used, longest)
