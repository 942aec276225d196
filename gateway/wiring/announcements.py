"""Receives the announcements of other replicas through the store: freed permits, changed tenants, reloads."""

import contextlib
import re
from collections.abc import Callable

from gateway.reload.reloader import Reloader
from gateway.wiring.collaborators import Collaborators
from shared_state.subscription import Subscription

# The messages that replicas publish, by channel.
_DEPLOYMENT, _VERSION = re.compile(rb"[A-Za-z0-9._:/@-]{1,64}"), re.compile(rb"[0-9]{1,15}")
_PHASE = re.compile(rb"[a-z]{0,20}")


def subscribe(stack: contextlib.AsyncExitStack, collaborators: Collaborators, reloader: Reloader) -> None:
    """Subscribes to the channels of the other replicas, until ``stack`` closes."""
    state, book, admission = collaborators.state, collaborators.tenancy.book, collaborators.routing.admission
    state.failover.shared.on_tenants_version = book.on_version
    keys = state.failover.shared.keys
    receivers: dict[bytes, Callable[[bytes], None]] = {
        **dict.fromkeys(state.freed, lambda message: admission.freed(_matched(_DEPLOYMENT, message))),
        keys.tenants: lambda message: book.on_version(int(_matched(_VERSION, message))),
        keys.reload: lambda message: _receive_reload(reloader, message),
    }
    subscription = Subscription(state.client, tuple(receivers), lambda channel, message: receivers[channel](message))
    stack.push_async_callback(subscription.stop)
    subscription.start()


def _receive_reload(reloader: Reloader, message: bytes) -> None:
    _matched(_PHASE, message)
    reloader.wake()


def _matched(pattern: re.Pattern[bytes], message: bytes) -> str:
    """Returns the message as text. Raises ValueError for a message that no replica sends."""
    if not pattern.fullmatch(message):
        raise ValueError
    return message.decode()
