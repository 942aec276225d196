"""Faults of the store.

StateError
├── StoreUnavailable    refused, reset, closed, name not found: no server answers
│   ├── StoreTimeout    the store did not answer within the deadline
│   └── StoreRefuses    it answers, but takes no calls now: read-only, loading, out of memory, busy, no permission
├── ScriptFailed        the store answered with an error
├── StoreUnfit          values under our keys, or the settings of the store, cannot be used
├── NotConfigured       the store does not know the policy or a deployment yet
└── EmbeddedFailed      the embedded Valkey child did not start
"""


class StateError(Exception):
    """Base of every fault of the shared state. ``kind``: one word from a small set, as metrics need it."""

    @property
    def kind(self) -> str:
        return "script"


class StoreUnavailable(StateError):
    """No server answers at the store's address."""

    @property
    def kind(self) -> str:
        return "unavailable"


class StoreTimeout(StoreUnavailable):
    """No answer within the deadline; the call may or may not have been carried out."""

    @property
    def kind(self) -> str:
        return "timeout"


class StoreRefuses(StoreUnavailable):
    """The store refuses calls in its present state; the message begins with the store's own error code."""

    @property
    def kind(self) -> str:
        return str(self).partition(" ")[0].lower()


class ScriptFailed(StateError):
    """The store refused a call; its message has the reason."""


class StoreUnfit(StateError):
    """A foreign value under one of our keys, another schema, or a store that evicts keys: an operator must act."""


class NotConfigured(StateError):
    """The store has lost, or never had, the policy that a decision needs."""


class EmbeddedFailed(StateError):
    """The embedded Valkey process ended or did not open its socket in time."""
