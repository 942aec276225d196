"""Builds the objects that decide about callers: who may call, how much memory their bodies may take, and the cost of
their calls.
"""

from collections.abc import Callable

import msgspec

from gateway.configuration.auth import signing_secrets
from gateway.configuration.money import budget_of
from gateway.configuration.settings import Settings
from gateway.endpoints.admin.access import AdminAccess
from gateway.endpoints.visitors import Visitors
from gateway.request.auth import Authenticator
from gateway.request.body_memory import BodyMemory, most_of
from gateway.request.tenant_labels import TenantLabels
from gateway.request.wrong_keys import WrongKeys
from gateway.routing.prices import Prices
from shared_state.failover import Failover
from shared_state.policies import TenantRecord
from shared_state.seal import Seal
from shared_state.tenants import TenantBook


class Tenancy(msgspec.Struct, frozen=True):
    """The tenants and admins of one replica, and the limits that apply to them."""

    failover: Failover
    authenticator: Authenticator
    prices: Prices
    book: TenantBook  # the tenants in the shared state
    body_memory: BodyMemory
    visitors: Visitors
    access: AdminAccess
    labels: TenantLabels

    def apply_settings(self, settings: Settings) -> None:
        """Applies another configuration to the requests that come from now on."""
        self.authenticator.apply_settings(settings.auth)
        self.book.adopt(_seal(settings))
        self.visitors.trust_proxies(settings.server.trusted_proxies)
        self.body_memory.most = most_of(settings.server)
        router = settings.router
        self.prices.replace_prices(settings.model_list, router.cost_estimate, budget_of(router.budget))
        self.failover.watch(self.prices.budget, self.authenticator.limits())
        self.labels.most = settings.metrics.max_tenants
        self.labels.show(self.authenticator.names())


async def open_tenancy(settings: Settings, failover: Failover, labels: TenantLabels) -> Tenancy:
    """Reads the tenants in the shared state, if it can be reached."""
    router = settings.router
    authenticator = Authenticator(settings.auth)
    prices = Prices(settings.model_list, router.cost_estimate, budget_of(router.budget))
    labels.most = settings.metrics.max_tenants

    def watch_tenants() -> None:
        failover.watch(prices.budget, authenticator.limits())
        labels.show(authenticator.names())

    book = await _book(failover, authenticator, watch_tenants, _seal(settings))
    visitors = Visitors(settings.server.trusted_proxies, WrongKeys())
    return Tenancy(
        failover=failover,
        authenticator=authenticator,
        prices=prices,
        book=book,
        body_memory=BodyMemory(most_of(settings.server), authenticator.is_shared),
        visitors=visitors,
        access=AdminAccess(authenticator, visitors),
        labels=labels,
    )


async def _book(
    failover: Failover, authenticator: Authenticator, watch_tenants: Callable[[], None], seal: Seal
) -> TenantBook:
    """Returns the stored tenants. ``watch_tenants``: has heartbeats read the budgets and limits of all known tenants,
    and metrics name them.
    """

    def replace_tenants(records: dict[str, TenantRecord], version: int) -> None:
        authenticator.replace_stored(records, version)
        watch_tenants()

    watch_tenants()
    book = TenantBook(failover, replace_tenants, seal)
    await book.begin()
    return book


def _seal(settings: Settings) -> Seal:
    """Returns the seal of stored tenants. Without keys every caller is served, so records need no signature."""
    return Seal(settings.state.domain, signing_secrets(settings.auth), is_required=bool(settings.auth.keys))
