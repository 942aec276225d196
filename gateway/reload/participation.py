"""What this replica serves under the configuration in force. Where its file is another one, it serves as far as its own
deployments allow, and is not ready without one for each model in force; its file waits until the replicas agree.
"""

import logging
from collections.abc import Callable

from gateway.configuration.settings import Settings
from gateway.configuration.store_policies import configuration, served, uncovered
from gateway.reload.file import Loaded
from shared_state.in_force import File, InForce

_WAY_OUT = (
    "`pllm reload --take mine` at this replica puts its file in force; otherwise it takes over when the last replica "
    "of the other file is gone"
)

_log = logging.getLogger("pllm.configuration")


def meaning(loaded: Loaded) -> File:
    return File(loaded.digest, configuration(loaded.settings))


class Participation:
    """``serve`` puts settings to use from now on; it waits while ``is_standby``, because the standby store has no other
    configuration. ``settings``: of this replica's file.
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
        """Another file of this replica, from the next `apply` on."""
        self.settings, self.in_force.file = loaded.settings, meaning(loaded)

    def apply(self) -> None:
        """After each look at what is in force."""
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
        """Requests for every model in force can be served here; else other replicas are the better place for them."""
        return not self._missing()

    def _missing(self) -> str:
        """Why it cannot serve by the configuration in force; empty when it can."""
        if self.in_force.is_mine:
            return ""
        target = self.in_force.configuration
        if target is None:
            return "the deployments in force are not known yet"
        models = uncovered(self.settings, target)
        return f"this file has no deployment in force of {', '.join(models)}" if models else ""

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
            "the file of this replica (%s) is not in force, configuration %d (%s) is: it serves by that one%s. %s",
            digest,
            known.version,
            known.digest,
            f" and is not ready: {missing}" if missing else "",
            _WAY_OUT,
        )
