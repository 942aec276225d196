"""The configuration file of a replica, which is read again while it runs. Files are compared by the SHA-256 of their
bytes, as `sha256sum` shows it, because the value of `${VAR}` may differ between replicas.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from gateway.configuration.settings import ConfigurationError, Settings, parse
from gateway.configuration.yaml_source import Problem, text_of


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and the digest of the file that they came from."""

    settings: Settings
    digest: str


class ConfigurationFile:
    """The configuration file of this replica. ``adjusted`` applies the flags of the command line to the settings; it
    may raise ConfigurationError.
    """

    def __init__(
        self, path: Path, environment: Mapping[str, str], adjusted: Callable[[Settings], Settings] = lambda same: same
    ) -> None:
        self._path = path
        self._environment = environment
        self._adjusted = adjusted
        self.written_s = 0  # when the file that was read last was written, since 1970

    def read(self) -> Loaded:
        """Reads and checks the file. Raises ConfigurationError."""
        text = text_of(self._path)
        if isinstance(text, Problem):
            raise ConfigurationError([text])
        self.written_s = int(self._path.stat().st_mtime) if self._path.exists() else 0
        digest = hashlib.sha256(text.encode()).hexdigest()
        # The prefix keeps Lua from reading a digest as a number.
        return Loaded(self._adjusted(parse(text, self._environment)), f"sha256:{digest}")
