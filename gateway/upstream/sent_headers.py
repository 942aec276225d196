"""The headers of a request to a provider that depend on the call: everything but those of its `Target`."""

import re
from functools import lru_cache

from gateway.request.calls import Call
from gateway.upstream.exchange import Exchange
from gateway.upstream.http.request import lines
from gateway.upstream.providers.adapters import Adapter
from gateway.version import VERSION
from shared_state.records import Outcome

AGENT_MOST = 200  # characters of a client's user agent
_UNPRINTABLE = re.compile(r"[^ -~]")
_CHOOSES_ACCOUNT = frozenset({"openai-organization", "openai-project"})
_ACCOUNT_REFUSED = (401, 403, 404)
_BLAMES_DEPLOYMENT = (Outcome.FAILURE, Outcome.UNSUPPORTED)


def header_lines(call: Call, adapter: Adapter, context: tuple[tuple[str, str], ...] = ()) -> bytes:
    """Returns the lines. ``context``: headers that name the trace of the call."""
    more = (call.edition if adapter.has_editions else ()) + call.passed + context
    if call.known:
        more += tuple([header for header in call.known if header[0] in adapter.knows])
    return _agent_line(call.agent) + lines(more) if more else _agent_line(call.agent)


@lru_cache(1_000)
def _agent_line(client: bytes) -> bytes:
    """Returns the user agent, which names the gateway first and then its client."""
    name = _UNPRINTABLE.sub("", client[:AGENT_MOST].decode("latin-1")).strip()
    return lines([("user-agent", f"pllm/{VERSION}; {name}" if name else f"pllm/{VERSION}")])


def blames_chosen_account(exchange: Exchange, call: Call, adapter: Adapter) -> bool:
    """Returns whether the provider may have refused the organization or project that the client has chosen. That is no
    failure of the deployment: any client could open its breaker.
    """
    if not call.known or exchange.status not in _ACCOUNT_REFUSED or exchange.outcome not in _BLAMES_DEPLOYMENT:
        return False
    return any(name in _CHOOSES_ACCOUNT & adapter.knows for name, _ in call.known)
