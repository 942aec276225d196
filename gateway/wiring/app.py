"""The composition root: this folder is the only one that builds collaborators and connects them. It opens state,
tenancy, routing and views, builds the endpoints on them, and at last the reloader and the application.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping

from gateway.configuration.redaction import Redaction
from gateway.configuration.settings import ConfigurationError, Settings
from gateway.configuration.value_types import secrets as secrets_of
from gateway.endpoints.admin.reload import Reload
from gateway.endpoints.ops import Probes
from gateway.reload.answers import reload_counts
from gateway.reload.file import ConfigurationFile, Loaded
from gateway.reload.participation import Participation, meaning
from gateway.reload.reloader import Reloader
from gateway.request.in_flight import InFlight
from gateway.telemetry.logs import AppendedFile, Lines
from gateway.telemetry.request_log import RequestLog
from gateway.version import VERSION
from gateway.wiring.announcements import subscribe
from gateway.wiring.application import Application, metrics_app
from gateway.wiring.collaborators import Collaborators, open_collaborators
from gateway.wiring.routes import Endpoints, get, permanent_routes
from gateway.wiring.state import State, ThisReplica, open_state
from gateway.wiring.telemetry import open_telemetry
from gateway.wiring.views import Reloads
from shared_state.errors import StateError
from shared_state.in_force import File, InForce
from shared_state.policies import Configuration

LEAVE_S = 0.5


@contextlib.asynccontextmanager
async def application(
    file: ConfigurationFile,
    loaded: Loaded,
    environment: Mapping[str, str],
    in_flight: InFlight,
    lines: Lines,
    redact: Redaction,
    name: str | None = None,
) -> AsyncIterator[Application]:
    """Builds one replica and closes its parts in reverse order on the way out. ``name``: of the replica; None for a
    random one. Raises StateError when the store cannot be reached or started, ConfigurationError when the environment
    names an invalid trace collector.
    """
    settings, mine, replica = loaded.settings, meaning(loaded), _this_replica(name, in_flight)
    async with contextlib.AsyncExitStack() as stack:
        telemetry = open_telemetry(stack, environment, replica, _request_log(stack, settings, lines, redact), redact)
        state = await open_state(stack, settings, replica, mine.configuration)
        reloads = Reloads(await _join(stack, state, mine), reload_counts())
        collaborators = await open_collaborators(stack, settings, replica, state, telemetry, reloads)
        endpoints = Endpoints(settings, collaborators, lambda: file.written_s)
        reloader = _reloader(file, settings, endpoints, collaborators, reloads, redact)
        subscribe(stack, collaborators, reloader)
        app = _application(settings, endpoints, collaborators, reloader)
        stack.push_async_callback(reloader.stop)
        await reloader.start()
        yield app


def _request_log(stack: contextlib.AsyncExitStack, settings: Settings, lines: Lines, redact: Redaction) -> RequestLog:
    """Opens the log of requests until ``stack`` closes. Raises OSError for a file that cannot be opened."""
    server = settings.server
    if not server.access_log:
        return RequestLog(None, redact)
    if server.access_log_file is not None:
        lines = Lines(AppendedFile(server.access_log_file), is_plain=False)
        stack.callback(lines.close)
    return RequestLog(lines, redact)


def _this_replica(name: str | None, in_flight: InFlight) -> ThisReplica:
    known_as = name or secrets.token_hex(3)
    return ThisReplica(known_as, f"{known_as}-{secrets.token_hex(2)}", VERSION, in_flight)


async def _join(stack: contextlib.AsyncExitStack, state: State, mine: File) -> InForce:
    """Starts the heartbeats. Returns the configuration in force, as far as it is known."""
    failover = state.failover

    async def apply_policies(policies: Configuration) -> None:
        await failover.adopt(policies.of(*failover.parts))

    in_force = InForce([part.shared for part in failover.parts.values()], mine, apply_policies)
    stack.push_async_callback(_leave, in_force)
    for heartbeat in state.heartbeats:
        stack.push_async_callback(heartbeat.stop)
        await heartbeat.start()
    return in_force


async def _leave(in_force: InForce) -> None:
    with contextlib.suppress(StateError, TimeoutError):
        async with asyncio.timeout(LEAVE_S):
            await in_force.leave()


def _reloader(
    file: ConfigurationFile,
    settings: Settings,
    endpoints: Endpoints,
    collaborators: Collaborators,
    reloads: Reloads,
    redact: Redaction,
) -> Reloader:
    failover, authenticator = collaborators.state.failover, collaborators.tenancy.authenticator

    def examine(read: Settings) -> None:
        redact.learn(secrets_of(read))
        if problems := tuple(authenticator.clashes(read.auth)):
            raise ConfigurationError(problems)

    def is_standby() -> bool:
        return failover.worst.state == "standby"

    participation = Participation(settings, reloads.in_force, endpoints.apply_settings, is_standby)
    return Reloader(file, collaborators.replica.life, participation, examine, reloads.counts)


def _application(
    settings: Settings, endpoints: Endpoints, collaborators: Collaborators, reloader: Reloader
) -> Application:
    tenancy, failover = collaborators.tenancy, collaborators.state.failover
    in_flight, metrics, access = collaborators.replica.in_flight, collaborators.views.metrics, tenancy.access
    probes = Probes(in_flight, failover, metrics, lambda: reloader.is_ready, access)
    has_metrics = settings.server.metrics_port is None
    is_open = tenancy.authenticator.is_open
    return Application(
        endpoints,
        permanent_routes(VERSION, probes, Reload(access, reloader), has_metrics),
        metrics_app([get("/metrics", probes.metrics)], is_open),
        reloader,
        collaborators.telemetry.log,
        tenancy.visitors,
        is_open,
    )
