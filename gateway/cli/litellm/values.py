"""Values of LiteLLM's configuration as ours: references to the environment, secrets, and whether a setting takes them.

What a setting accepts is asked of the settings themselves, so that this importer never disagrees with `pllm check`.
"""

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from gateway.cli.litellm.report import Unusable
from gateway.configuration.struct_reader import read
from gateway.configuration.yaml_source import Problem

# What a variable stands for, each with a value that such a setting takes: what is written is checked with these.
Kind = Literal["text", "number", "host", "url", "store"]
SAMPLES: Mapping[Kind, str] = {
    "text": "x",
    "number": "1",
    "host": "localhost",
    "url": "http://localhost",
    "store": "redis://localhost",
}
_REFERENCE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
_ANY_REFERENCE = "os.environ/"
_OURS = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Variables:
    """The environment variables that what is written asks for. ``reserved``: names that have a meaning already,
    as have those in the file.
    """

    def __init__(self, document: object, reserved: Iterable[str] = ()) -> None:
        self._taken = {*_names(document), *reserved}
        self._kinds: dict[str, Kind] = {}
        self._secrets: dict[str, str] = {}

    def samples(self) -> dict[str, str]:
        return {name: SAMPLES[kind] for name, kind in self._kinds.items()}

    def fresh(self, wanted: str) -> str:
        """A name like this that nothing else has."""
        stem = re.sub(r"[^A-Z0-9]+", "_", wanted.upper()).strip("_")
        stem = stem if stem[:1].isalpha() else f"KEY_{stem}"
        name, count = stem, 1
        while name in self._taken:
            count += 1
            name = f"{stem}_{count}"
        self._taken.add(name)
        return name

    def named(self, name: str, kind: Kind) -> str:
        """`${NAME}`; raises Unusable when it stands for something else already."""
        known = self._kinds.get(name, "text")
        if "text" not in (known, kind) and known != kind:
            raise Unusable(f"the variable {name} stands for something else already")
        self._kinds[name] = known if kind == "text" else kind
        self._taken.add(name)
        return f"${{{name}}}"

    def plain(self, value: object, kind: Kind) -> object:
        """A reference as ours, anything else as it is; raises Unusable for what our file could not say."""
        if isinstance(value, datetime.date):  # an api_version without quotes
            return value.isoformat()
        if not isinstance(value, str):
            return value
        if value.startswith(_ANY_REFERENCE):
            match = _REFERENCE.fullmatch(value)
            if match is None:
                raise Unusable("the name of its variable has other characters than letters, digits and _")
            return self.named(match.group(1), kind)
        if "${" in value:
            raise Unusable("${ would begin a variable")
        return value

    def secret(self, value: object, wanted: str) -> tuple[str, bool]:
        """A reference to it, and whether it stood in their file, in which case its variable is named here."""
        text = str(value)
        if match := _REFERENCE.fullmatch(text):
            return self.named(match.group(1), "text"), False
        if text not in self._secrets:
            self._secrets[text] = self.fresh(wanted)
        return self.named(self._secrets[text], "text"), True

    def resolved(self, value: object) -> object:
        """With the samples in place of the variables."""
        if not isinstance(value, str):
            return value
        samples = self.samples()
        return _OURS.sub(lambda match: samples.get(match.group(1), ""), value)

    def put(self, target: dict[str, Any], section: type[msgspec.Struct], key: str, value: object) -> None:
        """Sets one key of a section; raises Unusable in the words of the settings if they refuse it."""
        problems: list[Problem] = []
        read(section, {key: self.resolved(value)}, "", problems)
        for problem in problems:
            if problem.path == key or problem.path.startswith(f"{key}["):
                raise Unusable(problem.message)
        target[key] = value


def _names(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from (match.group(1) for match in [_REFERENCE.fullmatch(value)] if match)
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _names(child)


def number(value: object) -> float:
    """For what has to be reckoned with; raises Unusable."""
    try:
        found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else float("nan")
    except (ValueError, OverflowError):
        found = float("nan")
    if not abs(found) < float("inf"):
        raise Unusable("expected a number, and a variable cannot be reckoned with")
    return found


def whole(value: object) -> int:
    """Raises Unusable."""
    found = number(value)
    if found != int(found) or not 0 <= found <= 1_000_000_000:
        raise Unusable("expected a whole number that is not negative")
    return int(found)


def switch(value: object) -> bool:
    """Raises Unusable."""
    if not isinstance(value, bool):
        raise Unusable("expected true or false")
    return value
