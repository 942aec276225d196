"""A replica's part in the configuration in force. A replica whose file differs serves the deployments in force that its
file has as well, and is ready only with one for each model in force. Its file waits until the replicas agree.
"""

import logging
from collections.abc import Callable

from gateway.configuration.settings import Settings
from gateway.configuration.store_policies import configuration, served, uncovered
from gateway.reload.file import Loaded
from shared_state.in_force import File, InForce

_WAY_OUT = (
    "`pllm reload --take mine` at this replica puts its file in force; otherwise that happens when the last replica "
    "with the other file is gone"
)

_log = logging.getLogger("pllm.configuration")


def meaning(loaded: Loaded) -> File:
    """Returns the file as the shared state compares it: its digest and its policies."""
    return File(loaded.digest, configuration(loaded.settings))


class Participation:
    """Decides which settings this replica serves by. ``settings``: those of its file; ``serve`` puts settings to use;
    ``is_standby`` returns True while the standby store is in use, which keeps its configuration.
    """

    def __init__(
        self,
        settings: Settings,
        in_force: InForce,
        serve: Callable[[Settings], None],
        is_standby: Callable[[], bool],
    ) -> None:
        self.in_force = in_force
        self.settings = settings
        self._serve = serve
        self._is_standby = is_standby
        self._served = settings
        self._was_behind = False

    def change(self, loaded: Loaded) -> None:
        """Replaces the file of this replica. The next `apply` puts it to use."""
        self.settings, self.in_force.file = loaded.settings, meaning(loaded)

    def apply(self) -> None:
        """Follows the configuration in force. Called after each read of it."""
        self._report()
        target = self.in_force.configuration
        if target is None or self._is_standby():
            return
        is_mine = target.fingerprint == self.in_force.file.configuration.fingerprint
        settings = self.settings if is_mine else served(self.settings, target)
        if settings != self._served:
            self._serve(settings)
            self._served = settings

    @property
    def is_ready(self) -> bool:
        """Whether this replica can serve every model in force; otherwise other replicas serve better."""
        return not self._missing()

    def _missing(self) -> str:
        """Returns why this replica cannot serve the configuration in force; empty if it can."""
        if self.in_force.is_mine:
            return ""
        target = self.in_force.configuration
        if target is None:
            return "the deployments in force are not known yet"
        models = uncovered(self.settings, target)
        return f"its file has none of the deployments in force for {', '.join(models)}" if models else ""

    def _report(self) -> None:
        is_behind, known = self.in_force.is_behind, self.in_force.known
        if is_behind == self._was_behind:
            return
        self._was_behind, digest = is_behind, self.in_force.file.digest
        if not is_behind:
            _log.warning("the file of this replica (%s) is in force as configuration %d", digest, known.version)
            return
        missing = self._missing()
        _log.warning(
            "the file of this replica (%s) is not in force: it serves by configuration %d (%s)%s. %s",
            digest,
            known.version,
            known.digest,
            f" and is not ready: {missing}" if missing else "",
            _WAY_OUT,
        )
