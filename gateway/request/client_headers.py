"""The headers of a client that may reach providers: a list of names, so that no other header leaves the gateway."""

import re
from collections.abc import Iterable

NAMES = frozenset((b"openai-organization", b"openai-project", b"openai-beta", b"idempotency-key", b"anthropic-beta"))
_READ = NAMES | {b"user-agent"}
_VALUE = re.compile(rb"[!-~](?:[ -~]{0,1998}[!-~])?")


def provider_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[tuple[str, str], ...], bytes]:
    """Returns the headers for providers that know them, and the client's user agent. A repeated header is one list; one
    that is not well-formed is left out.
    """
    given: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _READ:
            given[name] = value if name not in given else given[name] + b"," + value
    agent = given.pop(b"user-agent", b"")
    if not given:
        return (), agent
    return tuple((name.decode(), value.decode()) for name, value in given.items() if _VALUE.fullmatch(value)), agent
