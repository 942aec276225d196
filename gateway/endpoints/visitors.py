"""Callers by their address, for the log and for what wrong keys get."""

from collections.abc import Iterable

from starlette.types import Scope

from gateway.errors import GatewayError, TooManyWrongKeys
from gateway.request.client_address import ClientAddress
from gateway.request.presented_keys import presented_keys
from gateway.request.wrong_keys import WrongKeys


class Visitors:
    """``trusted``: proxies, of the configuration in force."""

    def __init__(self, trusted: Iterable[str], wrong_keys: WrongKeys) -> None:
        self._wrong_keys = wrong_keys
        self.adopt(trusted)

    def adopt(self, trusted: Iterable[str]) -> None:
        self._addresses = ClientAddress(trusted)

    def address(self, scope: Scope) -> str:
        return self._addresses.of(scope.get("client"), scope["headers"])

    def refusal(self, scope: Scope, fault: GatewayError) -> GatewayError:
        """Returns the answer to a request that no key lets in: ``fault``, or after too many wrong keys from its address
        that there were too many. A request without any key guesses nothing.
        """
        if not any(presented_keys(scope["headers"])):
            return fault
        wait_ms = self._wrong_keys.note(self.address(scope))
        if not wait_ms:
            return fault
        return TooManyWrongKeys(f"{fault.message} Too many wrong keys came from this address.", retry_after_ms=wait_ms)
