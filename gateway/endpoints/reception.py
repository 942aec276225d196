"""Reads a request's headers and body: its tenant, its deadline, its model. Both the requests that are served and those
that are shed from their bytes pass here.
"""

import random
import secrets
from functools import partial

import msgspec
from starlette.types import Scope

from gateway.configuration.value_types import duration_ms
from gateway.endpoints.candidate_headers import only_of
from gateway.endpoints.visitors import Visitors
from gateway.errors import InvalidRequest, Unauthorized
from gateway.http.asgi_messages import Header, find
from gateway.json.bounds import LARGE
from gateway.request.auth import PRIORITY_LEVELS, Authenticator, Tenant
from gateway.request.body_memory import BodyMemory, HeldBody
from gateway.request.calls import Call, Kind, Named, edition_of, parse
from gateway.request.client_headers import provider_headers
from gateway.request.named_state import files_of_messages
from gateway.request.off_loop import off_loop_if
from gateway.request.same_origin import foreign_call
from gateway.request.sessions import NO_SESSIONS, Sessions
from gateway.request.token_bounds import MESSAGES_MOST
from gateway.request.wishes import NO_WISHES, PRIORITY, Wishes, routing_headers, wishes_of
from gateway.routing.deadline import Deadline
from gateway.routing.dispatch import Dispatcher
from gateway.routing.routing_state import Route

_LEVELS = {name.encode(): level for name, level in PRIORITY_LEVELS.items()}


class ParsedRequest(msgspec.Struct, frozen=True):
    """A call with the decisions that its headers and its tenant's key settle."""

    call: Call
    route: Route
    priority: int  # 0 critical to 100 bulk
    wishes: Wishes = NO_WISHES
    only: tuple[str, ...] = ()  # the deployments that its headers allow; empty: all


def authenticate(authenticator: Authenticator, headers: list[Header]) -> Tenant:
    """Returns the tenant of a request. Raises Unauthorized, CrossOrigin."""
    if authenticator.is_open() and (fault := foreign_call(headers)):
        raise fault
    tenant = authenticator.tenant(headers)
    if tenant is None:
        raise Unauthorized("The API key is missing or wrong.")
    return tenant


def priority_of(headers: list[Header], tenant: Tenant) -> int:
    """Returns 0 (critical) to 100 (bulk). A request may lower its tenant's priority, never raise it. Raises
    InvalidRequest.
    """
    name = find(headers, PRIORITY)
    if name is None:
        return tenant.priority_level
    level = _LEVELS.get(name)
    if level is None:
        raise InvalidRequest(f"x-pllm-priority must be one of {', '.join(PRIORITY_LEVELS)}.", param="x-pllm-priority")
    return max(level, tenant.priority_level)


def deadline_of(headers: list[Header], now: float, most_ms: int) -> Deadline:
    """Returns the deadline. A client may shorten its request's time, never extend it. Raises InvalidRequest."""
    text = find(headers, b"x-pllm-timeout")
    if text is None:
        return Deadline(now + most_ms / 1000)
    try:
        timeout_ms = duration_ms(text.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        timeout_ms = 0
    if timeout_ms <= 0:
        raise InvalidRequest("x-pllm-timeout must be a duration such as 30s.", param="x-pllm-timeout")
    return Deadline(now + min(timeout_ms, most_ms) / 1000, is_from_client=timeout_ms < most_ms)


class Reception:
    """Reads the headers and bodies of requests. ``timeout_ms``: the longest time that a request may take; ``memory``:
    of the bodies in flight; ``most_messages``: the bound on the messages of one request; ``sessions``: names theirs.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        authenticator: Authenticator,
        timeout_ms: int,
        memory: BodyMemory,
        visitors: Visitors,
        most_messages: int = MESSAGES_MOST,
        sessions: Sessions = NO_SESSIONS,
    ) -> None:
        self._memory = memory
        self.visitors = visitors
        self._most_messages = most_messages
        self._sessions = sessions
        self._dispatcher = dispatcher
        self._authenticator = authenticator
        self._timeout_ms = timeout_ms
        # Request ids only have to be unique: a seeded generator costs a twentieth of the system's.
        self._bits = random.Random(secrets.randbits(128)).getrandbits

    def request_id(self) -> bytes:
        return b"req_%032x" % self._bits(128)

    def held_body(self) -> HeldBody:
        """Returns the account of one body in memory; the caller releases it at the end of its request."""
        return HeldBody(self._memory)

    def tenant(self, scope: Scope) -> Tenant:
        """Authenticates the request, before its body is read. Raises Unauthorized, TooManyWrongKeys, CrossOrigin."""
        try:
            return authenticate(self._authenticator, scope["headers"])
        except Unauthorized as fault:
            raise self.visitors.refusal(scope, fault) from None

    def known(self, headers: list[Header]) -> Tenant:
        """Authenticates as `tenant` does, but counts no wrong key. Raises Unauthorized, CrossOrigin."""
        return authenticate(self._authenticator, headers)

    def deadline(self, headers: list[Header], now: float) -> Deadline:
        """Returns the request's deadline. Raises InvalidRequest."""
        return deadline_of(headers, now, self._timeout_ms)

    def parse_inline(self, kind: Kind, headers: list[Header], body: bytes, tenant: Tenant) -> ParsedRequest:
        """Parses on the event loop. Raises InvalidRequest, ModelNotFound, Forbidden."""
        own = self._sessions.headers(headers)
        call = parse(kind, body, self._most_messages, self._named(own, tenant))
        return self._resolved(call, headers, own, tenant)

    async def parse(
        self, kind: Kind, headers: list[Header], body: bytes, tenant: Tenant, is_count: bool = False
    ) -> ParsedRequest:
        """Returns and raises as `parse_inline`; a large body is parsed off the event loop. ``is_count``: the request
        orders no answer, only the number of its tokens.
        """
        own = self._sessions.headers(headers)
        named, is_large = self._named(own, tenant), len(body) > LARGE
        call = await off_loop_if(is_large, parse, kind, body, self._most_messages, named, is_count)
        return self._resolved(call, headers, own, tenant)

    def _named(self, own: list[Header], tenant: Tenant) -> Named:
        return partial(self._sessions.names, headers=own, tenant=tenant.name)

    def _resolved(self, call: Call, headers: list[Header], own: list[Header], tenant: Tenant) -> ParsedRequest:
        known, agent = provider_headers(headers)
        edition, names, passed = call.edition, call.names, self._sessions.passed(own) if own else call.passed
        if call.kind is Kind.MESSAGE:
            edition = edition_of(headers)
            names = (*names, *files_of_messages(call.body)) if _has_files(edition) else names
        call = msgspec.structs.replace(call, edition=edition, names=names, passed=passed, known=known, agent=agent)
        return self.resolved(call, headers, tenant)

    def resolved(self, call: Call, headers: list[Header], tenant: Tenant) -> ParsedRequest:
        """Adds the route and what the headers decide. Raises InvalidRequest, ModelNotFound, Forbidden."""
        ours = routing_headers(headers)
        if not ours:
            return ParsedRequest(call, self._dispatcher.resolve(call, tenant), tenant.priority_level)
        wishes = wishes_of(ours)
        route = self._dispatcher.resolve(call, tenant, wishes)

        def may_name() -> bool:
            return tenant.may_name_deployment or self._authenticator.admins.has_presented_key(headers)

        return ParsedRequest(call, route, priority_of(ours, tenant), wishes, only_of(ours, route, may_name))


def _has_files(edition: tuple[tuple[str, str], ...]) -> bool:
    return any("files-api" in value for _, value in edition)
