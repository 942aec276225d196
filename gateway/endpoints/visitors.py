"""The addresses of clients, for the log and for the bound on wrong keys."""

from collections.abc import Iterable

from starlette.types import Scope

from gateway.errors import GatewayError, TooManyWrongKeys
from gateway.request.client_address import ClientAddress
from gateway.request.presented_keys import presented_keys
from gateway.request.wrong_keys import WrongKeys


class Visitors:
    """Finds the address of each client. ``trusted``: the proxies whose reports count."""

    def __init__(self, trusted: Iterable[str], wrong_keys: WrongKeys) -> None:
        self._wrong_keys = wrong_keys
        self.trust_proxies(trusted)

    def trust_proxies(self, trusted: Iterable[str]) -> None:
        """Trusts these proxies from now on, and no others."""
        self._addresses = ClientAddress(trusted)

    def address(self, scope: Scope) -> str:
        return self._addresses.of(scope.get("client"), scope["headers"])

    def refusal(self, scope: Scope, fault: GatewayError) -> GatewayError:
        """Returns the error for a request without a valid key: ``fault``, or TooManyWrongKeys after too many of them
        from its address. A request without any key is not an attempt to guess one.
        """
        if not any(presented_keys(scope["headers"])):
            return fault
        wait_ms = self._wrong_keys.note(self.address(scope))
        if not wait_ms:
            return fault
        return TooManyWrongKeys(f"{fault.message} Too many wrong keys came from this address.", retry_after_ms=wait_ms)
