"""Who holds what a provider keeps: an answer's ids are remembered with the deployment that gave it, so that a request
that names one of them is served by the same account.
"""

from asyncio import Future
from collections.abc import Sequence

from gateway.configuration.router import RouterSettings
from gateway.errors import StateOwnerUnavailable
from gateway.request.auth import Tenant
from gateway.request.calls import Kind
from gateway.routing.answer import Answer
from gateway.routing.catalog import Catalog
from gateway.routing.client_request import ClientRequest
from gateway.routing.final_errors import Tried
from shared_state.calls.owned import Kept, digest_of
from shared_state.connection.call import Reply
from shared_state.failover import Failover
from shared_state.records import Outcome

KEEPERS = (Kind.RESPONSE, Kind.MESSAGE)  # the endpoints whose answers name what the provider keeps
_SHOWN_MOST = 100  # characters of an id


class Owners:
    """Remembers owners in the store. Digests hold the tenant: no tenant finds or places the ids of another."""

    def __init__(self, store: Failover) -> None:
        self._store = store

    def apply_settings(self, catalog: Catalog, router: RouterSettings) -> None:
        self._deployments = {deployment.id: deployment for deployment in catalog.deployments()}
        self._kept = Kept(router.state_owners.ttl_ms, router.state_owners.max_entries)

    def watch(self, request: ClientRequest, answer: Answer, tried: Sequence[Tried]) -> None:
        """Remembers what an answer has named so far, and at its end what it names then. Where the owner was unknown and
        another account lacked what the request names, this one has it.
        """
        names, deployment_id, tenant = answer.exchange.made, answer.candidate.deployment.id, request.tenant
        if answer.exchange.outcome is Outcome.SUCCESS and any(each.is_state_unknown for each in tried):
            names = (*request.call.names, *names)
        if names:
            answer.remembering = self._remember(deployment_id, tenant, names)
        if answer.exchange.is_open and answer.exchange.wire in KEEPERS:

            def at_end() -> None:
                made = tuple(name for name in answer.exchange.made if name not in names)
                if made:
                    self._remember(deployment_id, tenant, made)

            answer.at_end = at_end

    def _remember(self, deployment_id: str, tenant: Tenant, names: Sequence[str]) -> Sequence[Future[Reply]]:
        return self._store.remember(deployment_id, [digest_of(tenant.name, name) for name in names], self._kept)

    def unavailable(self, request: ClientRequest, owner: str, model: str) -> StateOwnerUnavailable:
        """Returns the error for a request whose ``owner``, the deployment of this id, is none of its candidates."""
        deployment = self._deployments.get(owner)
        if deployment is None:
            why = "is no longer in the configuration"
        elif not deployment.enabled:
            why = "is disabled"
        elif request.only:
            why = "is not among the deployments that x-pllm-deployment and x-pllm-tags allow"
        elif not model:
            why = "is not open to this key"
        else:
            why = f"does not serve the model `{model}` to this key"
        name = request.call.names[0][:_SHOWN_MOST]
        return StateOwnerUnavailable(
            f"The deployment `{owner}`, whose account holds what this request names (`{name}`), {why}."
        )
