"""Loads the scripts into a store: as libraries, or as scripts where the store takes no libraries. Each connection finds
out anew which of both it has.
"""

import logging
from collections.abc import Iterable

from shared_state.connection.commands import as_script, command
from shared_state.errors import StateError
from shared_state.scripts import Library, Script, libraries

Loaded = Library | Script

_log = logging.getLogger("pllm.state")


class Loader:
    """``error``: why the last load failed, empty if it did not; ``takes_libraries``: whether calls go out as FCALL."""

    def __init__(self, scripts: Iterable[Script]) -> None:
        self._scripts = tuple(scripts)
        self._libraries = libraries(self._scripts)
        self.names = {script.function.encode(): script.name for script in self._scripts}  # by function
        self._shas = {script.function.encode(): script.sha.encode() for script in self._scripts}
        self.takes_libraries = True
        self.error = ""

    def begin(self) -> None:
        """Begins a connection."""
        self.takes_libraries = True

    def load(self) -> tuple[list[bytes], list[Loaded]]:
        """Returns the commands that load everything, and what each of them loads."""
        self.error = ""
        if self.takes_libraries:
            return [command(b"FUNCTION", b"LOAD", each.text.encode()) for each in self._libraries], [*self._libraries]
        return [command(b"SCRIPT", b"LOAD", each.text.encode()) for each in self._scripts], [*self._scripts]

    def is_loading(self, in_flight: Iterable[object]) -> bool:
        """Returns whether a load of the present form is under way."""
        form = Library if self.takes_libraries else Script
        return any(isinstance(each, form) for each in in_flight)

    def note(self, loaded: Loaded, reply: object) -> None:
        """Reads the reply to a load. A library that another replica has loaded before is as good."""
        if isinstance(loaded, Script):
            if reply != loaded.sha.encode():
                self.error = f"the store did not load {loaded.name}: {reply}"
        elif reply != loaded.name.encode() and not str(reply).endswith("already exists"):
            self._refused(reply)

    def is_unknown(self, reply: object) -> bool:
        """Returns whether the reply says that a call was not carried out because the store does not know its script, or
        refuses FCALL: unknown commands and missing rights are reported by the command's name.
        """
        if not isinstance(reply, StateError):
            return False
        text = str(reply)
        if "fcall" in text.lower():
            self._refused(reply)
            return True
        return text.startswith("NOSCRIPT") or text == "ERR Function not found"

    def _refused(self, reply: object) -> None:
        if self.takes_libraries:
            self.takes_libraries = False
            _log.info("the store takes no libraries (%s): scripts are used instead, which cost it more", reply)

    def form(self, packed: bytes) -> bytes:
        """Returns a call in the form that the store takes."""
        return packed if self.takes_libraries else as_script(packed, self._shas)
