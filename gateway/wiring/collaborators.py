"""What of a replica lasts when its configuration changes: built once, in the order in which each needs the other."""

import contextlib
import re
from collections.abc import Callable
from functools import partial

from gateway.configuration.money import budget_of
from gateway.configuration.settings import Settings
from gateway.endpoints.admin.access import AdminAccess
from gateway.endpoints.admin.reload import Reload
from gateway.endpoints.ops import Probes
from gateway.endpoints.visitors import Visitors
from gateway.reload.reloader import Reloader
from gateway.request.auth import Authenticator
from gateway.request.body_memory import BodyMemory, most_of
from gateway.request.in_flight import Flight
from gateway.request.wrong_keys import WrongKeys
from gateway.routing.admission import Admission
from gateway.routing.catalog import Catalog
from gateway.routing.dispatch import Dispatcher
from gateway.routing.health_checks import HealthChecks
from gateway.routing.prices import Prices
from gateway.routing.round_trips import RoundTrips
from gateway.routing.tracing import Tracer
from gateway.telemetry.cluster_metrics import ClusterMetrics
from gateway.telemetry.loop_lag import LoopLag
from gateway.telemetry.metrics import ClientRetries, Metrics
from gateway.telemetry.request_counters import Measures
from gateway.telemetry.request_log import RequestLog
from gateway.upstream.client import Upstream
from gateway.views.cluster_summary import surroundings
from gateway.views.live import LiveFeed, models_shown
from gateway.wiring.routes import Lasting, seal_of
from gateway.wiring.state import State
from shared_state.failover import Failover
from shared_state.policies import TenantRecord
from shared_state.scaling import Scaling
from shared_state.seal import Seal
from shared_state.subscription import News
from shared_state.tenants import TenantBook

# What replicas publish, by channel.
_DEPLOYMENT, _VERSION = re.compile(rb"[A-Za-z0-9._:/@-]{1,64}"), re.compile(rb"[0-9]{1,15}")
_PHASE = re.compile(rb"[a-z]{0,20}")


async def what_lasts(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    state: State,
    reloader: Reloader,
    flight: Flight,
    tracer: Tracer,
    log: RequestLog,
    replica: str,
    started_s: int,
) -> Lasting:
    """Raises StateError. ``stack`` gives back what has to be."""
    upstream, failover = Upstream(settings.model_list), state.failover
    stack.push_async_callback(upstream.close)
    authenticator, ledger = Authenticator(settings.auth), failover.shared.memory.ledger
    prices = Prices(settings.model_list, settings.router.cost_estimate, budget_of(settings.router.budget))
    retries, measures, lag = ClientRetries(), Measures(), LoopLag()
    stack.callback(lag.stop)
    admission = Admission(failover, settings.router, authenticator.is_welcome, prices, lag.is_saturated)
    book = await _book(failover, authenticator, prices, seal_of(settings))
    _listen(stack, state, admission, book, reloader)
    round_trips, scaling, health_checks = _reporters(stack, settings, failover, admission)
    around = partial(surroundings, settings.server.region, ledger, scaling, admission.waiting)
    feed = LiveFeed(failover, models_shown(settings), replica, around, lambda: flight.is_draining)
    stack.push_async_callback(feed.stop)
    visitors = Visitors(settings.server.trusted_proxies, WrongKeys())
    access = AdminAccess(authenticator, visitors)
    cluster = ClusterMetrics(settings.model_list, ledger, lambda: scaling.latest, settings.server.region)
    metrics = Metrics(
        failover, retries, measures, admission.queues, admission.attempts, lag, cluster, reloader, settings
    )
    return Lasting(
        failover=failover,
        admission=admission,
        authenticator=authenticator,
        body_memory=BodyMemory(most_of(settings.server), authenticator.is_shared),
        dispatcher=Dispatcher(failover, admission, upstream, Catalog(settings), settings.router),
        upstream=upstream,
        prices=prices,
        scaling=scaling,
        round_trips=round_trips,
        health_checks=health_checks,
        book=book,
        access=access,
        visitors=visitors,
        feed=feed,
        metrics=metrics,
        probes=Probes(flight, failover, metrics, lambda: reloader.is_ready, access),
        reload=Reload(access, reloader),
        flight=flight,
        retries=retries,
        measures=measures,
        tracer=tracer,
        log=log,
        replica=replica,
        created=started_s,
    )


async def _book(failover: Failover, authenticator: Authenticator, prices: Prices, seal: Seal) -> TenantBook:
    """Who is known, and with them whose budgets and limits are read along."""

    def learn(records: dict[str, TenantRecord], version: int) -> None:
        authenticator.learn(records, version)
        failover.watch(prices.budget, authenticator.limits())

    failover.watch(prices.budget, authenticator.limits())
    book = TenantBook(failover, learn, seal)
    await book.begin()
    return book


def _reporters(
    stack: contextlib.AsyncExitStack, settings: Settings, failover: Failover, admission: Admission
) -> tuple[RoundTrips, Scaling, HealthChecks]:
    """The parts that report to the store from time to time, each where it is wanted."""
    round_trips = RoundTrips(settings.model_list, failover.tell_round_trips)
    stack.push_async_callback(round_trips.stop)
    if settings.server.region:
        round_trips.start()
    scaling = Scaling(failover, lambda: sum(admission.waiting().values()))
    stack.push_async_callback(scaling.stop)
    scaling.start()
    health_checks = HealthChecks(settings.model_list, failover)
    stack.push_async_callback(health_checks.stop)
    health_checks.start()
    return round_trips, scaling, health_checks


def _listen(
    stack: contextlib.AsyncExitStack,
    state: State,
    admission: Admission,
    book: TenantBook,
    reloader: Reloader,
) -> None:
    """To what other replicas have done."""
    state.failover.shared.on_tenants_version = book.heard
    keys = state.failover.shared.keys
    heard: dict[bytes, Callable[[bytes], None]] = {
        **dict.fromkeys(state.freed, lambda message: admission.freed(_matched(_DEPLOYMENT, message))),
        keys.tenants: lambda message: book.heard(int(_matched(_VERSION, message))),
        keys.reload: lambda message: _heard_reload(reloader, message),
    }
    news = News(state.client, tuple(heard), lambda channel, told: heard[channel](told))
    stack.push_async_callback(news.stop)
    news.start()


def _heard_reload(reloader: Reloader, message: bytes) -> None:
    _matched(_PHASE, message)
    reloader.heard()


def _matched(pattern: re.Pattern[bytes], message: bytes) -> str:
    """Raises ValueError."""
    if not pattern.fullmatch(message):
        raise ValueError
    return message.decode()
