"""Converts values of LiteLLM's configuration: references to the environment, secrets, and checks by our settings.

The settings themselves check each value, so that the import never disagrees with `pllm check`.
"""

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from gateway.cli.litellm.report import Unusable
from gateway.configuration.struct_reader import read
from gateway.configuration.yaml_source import Problem

# The kinds of values that variables hold, each with a sample that such a setting accepts, to check the result with.
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
    """The environment variables of the written configuration. ``reserved``: names with another meaning, like those
    in the file.
    """

    def __init__(self, document: object, reserved: Iterable[str] = ()) -> None:
        self._taken = {*_names(document), *reserved}
        self._kinds: dict[str, Kind] = {}
        self._secrets: dict[str, str] = {}

    def samples(self) -> dict[str, str]:
        return {name: SAMPLES[kind] for name, kind in self._kinds.items()}

    def fresh(self, wanted: str) -> str:
        """Returns an unused name similar to ``wanted``."""
        stem = re.sub(r"[^A-Z0-9]+", "_", wanted.upper()).strip("_")
        stem = stem if stem[:1].isalpha() else f"KEY_{stem}"
        name, count = stem, 1
        while name in self._taken:
            count += 1
            name = f"{stem}_{count}"
        self._taken.add(name)
        return name

    def named(self, name: str, kind: Kind) -> str:
        """Returns `${NAME}`. Raises Unusable if the variable already stands for another kind of value."""
        known = self._kinds.get(name, "text")
        if "text" not in (known, kind) and known != kind:
            raise Unusable(f"the variable {name} already stands for another kind of value")
        self._kinds[name] = known if kind == "text" else kind
        self._taken.add(name)
        return f"${{{name}}}"

    def plain(self, value: object, kind: Kind) -> object:
        """Returns a reference in our form, any other value as it is. Raises Unusable for a value that our file cannot
        hold.
        """
        if isinstance(value, datetime.date):  # an api_version without quotes
            return value.isoformat()
        if not isinstance(value, str):
            return value
        if value.startswith(_ANY_REFERENCE):
            match = _REFERENCE.fullmatch(value)
            if match is None:
                raise Unusable("the name of its variable has characters other than letters, digits and _")
            return self.named(match.group(1), kind)
        if "${" in value:
            raise Unusable("${ would begin a variable")
        return value

    def secret(self, value: object, wanted: str) -> tuple[str, bool]:
        """Returns a reference to a secret, and whether the secret was in their file, so that its variable is new."""
        text = str(value)
        if match := _REFERENCE.fullmatch(text):
            return self.named(match.group(1), "text"), False
        if text not in self._secrets:
            self._secrets[text] = self.fresh(wanted)
        return self.named(self._secrets[text], "text"), True

    def resolved(self, value: object) -> object:
        """Returns the value with samples in place of the variables."""
        if not isinstance(value, str):
            return value
        samples = self.samples()
        return _OURS.sub(lambda match: samples.get(match.group(1), ""), value)

    def put(self, target: dict[str, Any], section: type[msgspec.Struct], key: str, value: object) -> None:
        """Sets one key of a section. Raises Unusable with the message of the settings if they refuse it."""
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
    """Returns a number to calculate with. Raises Unusable."""
    try:
        result = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else float("nan")
    except (ValueError, OverflowError):
        result = float("nan")
    if not abs(result) < float("inf"):
        raise Unusable("expected a number; a variable cannot be used here")
    return result


def whole(value: object) -> int:
    """Returns a whole number that is not negative. Raises Unusable."""
    result = number(value)
    if result != int(result) or not 0 <= result <= 1_000_000_000:
        raise Unusable("expected a whole number that is not negative")
    return int(result)


def switch(value: object) -> bool:
    """Returns a boolean. Raises Unusable."""
    if not isinstance(value, bool):
        raise Unusable("expected true or false")
    return value
