"""The admins and their roles: the holders of admin keys; without such a key, callers on this machine, where the
configuration allows it.
"""

import hmac
import ipaddress
from typing import Literal

import msgspec

from gateway.configuration.auth import AdminRole, AuthSettings
from gateway.http.host_header import Headers
from gateway.request.presented_keys import digest, presented_keys
from gateway.request.same_origin import is_relayed

Mode = Literal["key", "local", "off"]
ROLES: tuple[AdminRole, ...] = ("viewer", "operator", "admin")  # each includes the rights of those before it


class Admin(msgspec.Struct, frozen=True):
    """A caller of the admin endpoints."""

    name: str  # as logs and events show it, never the key
    role: AdminRole = "admin"

    def may_act_as(self, role: AdminRole) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


ADMIN, LOCAL = Admin("admin"), Admin("local")  # the holder of auth.admin_key; a caller on this machine


class Admins:
    """The admins of the configuration in force. ``mode``: what the admin endpoints demand; `off`: they refuse every
    request. A gateway whose tenants have keys serves other machines, and a proxy in front of it makes them callers from
    loopback, so `local` has to be configured there.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self._by_digest = {digest(each.key.encode()): Admin(each.name, each.role) for each in settings.admin_keys}
        if settings.admin_key:
            self._by_digest[digest(settings.admin_key.encode())] = ADMIN
        is_local = settings.admin == "local" or not settings.keys
        self.mode: Mode = "key" if self._by_digest else "local" if is_local else "off"

    def of(self, headers: Headers, client_host: str | None) -> Admin | None:
        """Returns the admin who sent a request; None for other callers. ``client_host``: None for a unix socket."""
        match self.mode:
            case "key":
                return self._by_key(headers)
            case "local":
                return LOCAL if _is_local(client_host) and not is_relayed(headers) else None
        return None

    def has_presented_key(self, headers: Headers) -> bool:
        """Returns whether the request has an admin key that is more than a viewer's."""
        admin = self._by_key(headers) if self._by_digest else None
        return admin is not None and admin.may_act_as("operator")

    def _by_key(self, headers: Headers) -> Admin | None:
        """Compares with every key, so that the time reveals neither which key matched nor how much of it."""
        match = None
        for presented in (digest(key) for key in presented_keys(headers)):
            for known, admin in self._by_digest.items():
                if hmac.compare_digest(presented, known):
                    match = admin
        return match

    def has_key(self, key_digest: bytes) -> bool:
        return any(hmac.compare_digest(key_digest, known) for known in self._by_digest)


def _is_local(client_host: str | None) -> bool:
    if client_host is None:
        return True
    try:
        address = ipaddress.ip_address(client_host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
