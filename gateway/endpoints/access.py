"""Who may use the admin endpoints: the holder of the admin key; without one, callers on this machine, and only where
the tenants have no keys or `auth.admin: local` allows it; never a page of another site. A refusal is logged, but at
most once a second.
"""

import logging
import time
from collections.abc import Callable

from starlette.requests import Request

from gateway.auth import Authenticator
from gateway.errors import AdminOff, AdminOnly, CrossOrigin, GatewayError, Unauthorized
from gateway.origin import is_cross_origin, is_named_locally

OFF = (
    "The admin endpoints are off, because the configuration has auth.keys and no auth.admin_key. "
    "Set auth.admin_key, or auth.admin: local for callers on the gateway's own machine."
)
LOG_EVERY_S = 1.0  # a flood of wrong keys must not become a flood of lines

_log = logging.getLogger("pllm.admin")


class AdminAccess:
    def __init__(self, authenticator: Authenticator, now: Callable[[], float] = time.monotonic) -> None:
        self._authenticator = authenticator
        self._now = now
        self._logged_s = float("-inf")
        self._unlogged = 0

    def authorize(self, request: Request) -> None:
        """Raises Unauthorized, AdminOnly, AdminOff, CrossOrigin."""
        fault = self._fault(request)
        if fault is not None:
            self._tell(request, fault)
            raise fault

    def require_on(self) -> None:
        """For what holds no data, such as the live page. Raises AdminOff."""
        if self._authenticator.admins.mode == "off":
            raise AdminOff(OFF)

    def _fault(self, request: Request) -> GatewayError | None:
        headers, admins = list(request.scope["headers"]), self._authenticator.admins
        if admins.mode == "off":
            return AdminOff(OFF)
        if is_cross_origin(headers):
            return CrossOrigin("Pages of other sites may not use the admin endpoints.")
        if admins.mode == "local" and not is_named_locally(headers):
            return CrossOrigin(
                "Without an admin key the admin endpoints answer to localhost only, and to no other name."
            )
        if admins.of(headers, request.client.host if request.client else None):
            return None
        if any(name in (b"authorization", b"x-api-key") for name, _ in headers):
            return AdminOnly("This endpoint needs the admin key.")
        return Unauthorized("This endpoint needs the admin key.")

    def _tell(self, request: Request, fault: GatewayError) -> None:
        now = self._now()
        if now - self._logged_s < LOG_EVERY_S:
            self._unlogged += 1
            return
        caller = request.client.host if request.client else "a local socket"
        more = f", and {self._unlogged} more since the last line" if self._unlogged else ""
        _log.warning("refused %s %.200a from %s: %s%s", request.method, request.scope["path"], caller, fault.code, more)
        self._logged_s, self._unlogged = now, 0
