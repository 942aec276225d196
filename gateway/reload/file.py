"""The file that a replica was started with, to be read again while it runs. Files are compared by the SHA-256 of their
bytes, as `sha256sum` shows it: what `${VAR}` stands for is each replica's own.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from gateway.configuration.settings import ConfigurationError, Settings, parse
from gateway.configuration.yaml_source import Problem, text_of


class Loaded(msgspec.Struct, frozen=True):
    settings: Settings
    digest: str


class ConfigurationFile:
    """``adjusted``: with what the command line says instead; may raise ConfigurationError."""

    def __init__(
        self, path: Path, environment: Mapping[str, str], adjusted: Callable[[Settings], Settings] = lambda same: same
    ) -> None:
        self._path = path
        self._environment = environment
        self._adjusted = adjusted

    def read(self) -> Loaded:
        """Raises ConfigurationError."""
        text = text_of(self._path)
        if isinstance(text, Problem):
            raise ConfigurationError([text])
        digest = hashlib.sha256(text.encode()).hexdigest()
        # A letter first: Lua takes a text that looks like a number for one.
        return Loaded(self._adjusted(parse(text, self._environment)), f"sha256:{digest}")
