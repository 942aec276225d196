"""Access to the admin endpoints: for the holders of admin keys, within their roles; without such a key for callers on
this machine, where the tenants have no keys or `auth.admin: local` allows it; never for a page of another site.
Refusals are logged at most once a second, changes always.
"""

import logging
import time
from collections.abc import Callable

from starlette.requests import Request

from gateway.configuration.auth import AdminRole
from gateway.endpoints.visitors import Visitors
from gateway.errors import AdminOff, AdminOnly, CrossOrigin, GatewayError, RoleRequired, Unauthorized
from gateway.request.admins import Admin
from gateway.request.auth import Authenticator
from gateway.request.same_origin import is_cross_origin, is_named_locally

OFF = (
    "The admin endpoints are off, because the configuration has auth.keys and no admin key. "
    "Set auth.admin_key, or auth.admin: local for callers on the gateway's own machine."
)
ADMIN_NAME = "pllm.admin"  # in the scope of a request: the name of its admin, for the log
LOG_EVERY_S = 1.0  # a flood of wrong keys must not become a flood of lines

_log = logging.getLogger("pllm.admin")


class AdminAccess:
    """Authorizes requests to the admin endpoints."""

    def __init__(
        self, authenticator: Authenticator, visitors: Visitors, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._visitors = visitors
        self._authenticator = authenticator
        self._now = now
        self._logged_s = float("-inf")
        self._unlogged = 0

    def authorize(self, request: Request, role: AdminRole = "admin") -> Admin:
        """Returns the admin who sent the request. Raises Unauthorized, AdminOnly, RoleRequired, AdminOff,
        CrossOrigin.
        """
        admin = self._admin(request, role)
        if isinstance(admin, GatewayError):
            self._log_refusal(request, admin)
            raise admin
        request.scope[ADMIN_NAME] = admin.name
        if request.method not in ("GET", "HEAD"):
            change = (request.method, request.scope["path"], admin.name, admin.role, self._caller(request))
            _log.info("%s %.200a by %s (%s) from %s", *change)
        return admin

    def authorize_scrape(self, request: Request) -> None:
        """Authorizes a scrape on the port of calls: with admin keys it needs a viewer's. Raises as `authorize`."""
        if self._authenticator.admins.mode == "key":
            self.authorize(request, "viewer")

    def require_on(self) -> None:
        """Authorizes an endpoint that shows no data, such as the live page. Raises AdminOff."""
        if self._authenticator.admins.mode == "off":
            raise AdminOff(OFF)

    def _admin(self, request: Request, role: AdminRole) -> Admin | GatewayError:
        headers, admins = list(request.scope["headers"]), self._authenticator.admins
        if admins.mode == "off":
            return AdminOff(OFF)
        if is_cross_origin(headers):
            return CrossOrigin("Pages of other sites may not use the admin endpoints.")
        if admins.mode == "local" and not is_named_locally(headers):
            return CrossOrigin(
                "Without an admin key the admin endpoints answer to localhost only, and to no other name."
            )
        admin = admins.of(headers, request.client.host if request.client else None)
        if admin is not None and admin.may_act_as(role):
            return admin
        if admin is not None:
            return RoleRequired(
                f"This endpoint needs a key with the role {role}; `{admin.name}` has the role {admin.role}."
            )
        if any(name in (b"authorization", b"x-api-key") for name, _ in headers):
            fault = AdminOnly("This endpoint needs the admin key.")
            is_tenant = self._authenticator.tenant(headers) is not None
            return fault if is_tenant else self._visitors.refusal(request.scope, fault)
        return Unauthorized("This endpoint needs the admin key.")

    def _log_refusal(self, request: Request, fault: GatewayError) -> None:
        now = self._now()
        if now - self._logged_s < LOG_EVERY_S:
            self._unlogged += 1
            return
        more = f", and {self._unlogged} more since the last line" if self._unlogged else ""
        _log.warning(
            "refused %s %.200a from %s: %s%s",
            request.method,
            request.scope["path"],
            self._caller(request),
            fault.code,
            more,
        )
        self._logged_s, self._unlogged = now, 0

    def _caller(self, request: Request) -> str:
        return self._visitors.address(request.scope) or "a local socket"
