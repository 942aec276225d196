"""Creates, changes and removes tenants while the cluster runs: the shared store holds them, and all replicas obey.

A generated key is shown once; only its hash is stored.
"""

import re
import secrets

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.configuration.key_strength import LEAST, weakness
from gateway.configuration.money import budget_of
from gateway.configuration.value_types import Identifier
from gateway.endpoints.admin.access import AdminAccess
from gateway.endpoints.admin.breakers import answered, body_of
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.http.asgi_messages import ClientGone
from gateway.request.auth import Authenticator, TenantRequest
from gateway.request.presented_keys import digest
from gateway.routing.catalog import Catalog
from shared_state.money import MICRO
from shared_state.policies import TenantRecord
from shared_state.tenants import KeyInUse, TenantBook, UnsignedTenants

KEY_BYTES = 32
_KEY = re.compile(rf"[!-~]{{{LEAST},}}")  # a header could not hold other characters


class Tenants:
    """The endpoints of tenants. Reading needs the role of a viewer, changes that of an admin."""

    def __init__(self, access: AdminAccess, book: TenantBook, authenticator: Authenticator, catalog: Catalog) -> None:
        self._access = access
        self._book = book
        self._authenticator = authenticator
        self._catalog = catalog

    async def index(self, request: Request) -> Response:
        """GET /v1/admin/tenants: the tenants in the store, without keys. `unsigned`: records that are ignored."""
        self._access.authorize(request, "viewer")
        known = [_shown(self._book.records[name]) for name in sorted(self._book.records)]
        return answered({"tenants": known, "unsigned": sorted(self._book.unsigned)})

    async def put(self, request: Request) -> Response:
        """PUT /v1/admin/tenants/{name}."""
        admin = self._access.authorize(request)
        name = _name(request)
        try:
            change = await body_of(request, TenantRequest)
        except ClientGone:
            return Response()  # the client has disconnected
        for index, model in enumerate(change.models):
            if self._catalog.resolve(model) is None:
                raise InvalidRequest(f"No deployment serves the model `{model[:200]}`.", param=f"models[{index}]")
        await self._book.refresh()
        before = self._book.records.get(name)
        if change.key is not None and not _KEY.fullmatch(change.key):
            message = f"A key has at least {LEAST} visible ASCII characters, without blanks."
            raise InvalidRequest(message, param="key")
        if change.key is not None and (fault := weakness(change.key)):
            raise InvalidRequest(f"This is {fault}.", param="key")
        is_generated = change.key is None and before is None
        key = "sk-pllm-" + secrets.token_urlsafe(KEY_BYTES) if is_generated else change.key
        key_hash = digest(key.encode()).hex() if key is not None else before.key_hash if before else ""
        if self._authenticator.is_configured(name, key_hash):
            raise Conflict("The configuration has a tenant of this name or with this key: change it there.")
        fields = msgspec.structs.asdict(change)
        del fields["key"]
        record = TenantRecord(name=name, key_hash=key_hash, **fields | {"budget": budget_of(change.budget)})
        try:
            await self._book.put(record, admin.name)
        except KeyInUse:
            raise Conflict("Another tenant has this key.", param="key") from None
        except UnsignedTenants:
            raise Conflict("Tenants in the store are signed: set auth.signing_keys or an admin key.") from None
        shown = _shown(record) | ({"key": key} if is_generated else {})
        return answered(shown, 200 if before else 201)

    async def remove(self, request: Request) -> Response:
        """DELETE /v1/admin/tenants/{name}: revokes its key."""
        admin = self._access.authorize(request)
        name = _name(request)
        if not await self._book.remove(name, admin.name):
            raise NotFound(f"The store has no tenant `{name}`.")
        return answered({"name": name, "removed": True})


def _name(request: Request) -> str:
    """Returns the tenant's name in the path. Raises InvalidRequest for an invalid name."""
    name: str = request.path_params["name"]
    try:
        return msgspec.convert(name, Identifier)
    except msgspec.ValidationError:
        message = "The name of a tenant is 1 to 64 letters, digits or any of . _ : / @ -"
        raise InvalidRequest(message, param="name") from None


def _shown(record: TenantRecord) -> dict[str, object]:
    budget = record.budget and {"amount": record.budget.amount / MICRO, "per": record.budget.per}
    fields = msgspec.structs.asdict(record) | {"budget": budget}
    return {name: value for name, value in fields.items() if name != "key_hash"}
