"""One call to one deployment.

A plain answer is read whole, and a stream up to its first content, before it is judged: until then the next candidate
can still hide a fault. The holder of an Exchange closes it.
"""

import logging
import time
from collections.abc import Callable, Coroutine, Sequence

import msgspec

from gateway.configuration.patterns import is_pattern
from gateway.configuration.redaction import without_keys
from gateway.configuration.settings import DeploymentSettings
from gateway.errors import InvalidRequest, KeyUnavailable, ReplicaFault
from gateway.request.calls import Call, Kind
from gateway.request.off_loop import LARGE, LARGE_CHUNK, off_loop_if
from gateway.upstream.answer_headers import read_headers
from gateway.upstream.classify import (
    FAILURE,
    OUR_LIMIT,
    PASSING,
    REQUEST_FAILED,
    SUCCESS,
    UNKNOWN_MODEL,
    is_own_fault,
    judge_fault,
)
from gateway.upstream.credentials import Credentials
from gateway.upstream.exchange import FAULTS, Exchange
from gateway.upstream.fault_words import fault_words
from gateway.upstream.http.client import HttpClient
from gateway.upstream.http.connect import system_tls
from gateway.upstream.http.faults import NotConnected
from gateway.upstream.http.response import Response
from gateway.upstream.in_band import no_reply
from gateway.upstream.sent_headers import blames_chosen_account, header_lines
from gateway.upstream.sse import NotEvents
from gateway.upstream.stream_content import Preamble
from gateway.upstream.targets import Target
from gateway.upstream.targets import target as make_target
from gateway.upstream.whole_answer import Defect, Sent, answered_whole, in_band, judged_no_stream, refused_whole
from shared_state.records import Outcome

_log = logging.getLogger("pllm.upstream")

PREPARED_MOST = 1_000  # targets kept: clients choose the models of a pattern
REPLY_MOST = 64 * 1_048_576  # bytes: a plain answer is held in memory
_NO_ANSWER = (204, 205, 206)  # no body, or a part of one that was not requested
_KEY_REFUSED = (400, 401, 403)  # 403: an expired token at some; 400: Gemini's words for a wrong key

Pairs = tuple[tuple[str, str], ...]


class UpstreamClient:
    """Sends calls to deployments. Create it inside a running loop; ``close`` ends its connections."""

    def __init__(
        self,
        deployments: Sequence[DeploymentSettings],
        http: HttpClient | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self._http = http or HttpClient()
        self.credentials = credentials = credentials or Credentials(deployments)
        targets = {
            (each.id, kind): make_target(each, kind, credentials.of(each.provider))
            for each in deployments
            for kind in Kind
        }
        self._targets = {key: target for key, target in targets.items() if target is not None}
        self._unprepared = {
            each.id: each for each in deployments if each.provider.source or is_pattern(each.model_name)
        }
        self._prepared: dict[tuple[str, Kind, str], Target] = {}  # for present keys, and models of patterns
        if any(each.request.origin.is_tls for each in self._targets.values()):
            system_tls()  # now, because loading certificates would hold the first call

    def with_deployments(self, deployments: Sequence[DeploymentSettings]) -> "UpstreamClient":
        """Returns a client for other deployments over the same connections and with the same keys: calls in progress
        continue.
        """
        self.credentials.adopt(deployments)
        return UpstreamClient(deployments, self._http, self.credentials)

    async def close(self) -> None:
        await self.credentials.stop()
        await self._http.close()

    def serves(self, deployment_id: str, kind: Kind) -> bool:
        return (deployment_id, kind) in self._targets

    def speaks(self, deployment_id: str, kind: Kind) -> bool:
        """Returns whether the deployment gets the client's own body: calls of this kind are not translated."""
        target = self._targets.get((deployment_id, kind))
        return target is not None and target.adapter.wire is kind

    def send(
        self,
        deployment_id: str,
        call: Call,
        context: Pairs = (),
        on_activity: Callable[[], None] = lambda: None,
        model: str = "",
    ) -> Coroutine[None, None, Exchange]:
        """Sends a call and reads its answer, a stream up to its first content. A fault of the provider or the network
        is an outcome, not an exception. Cancellation aborts the call.

        ``context``: headers that name the trace of the call; ``on_activity``: called whenever bytes of the answer
        arrive; ``model``: its name at the provider, for a deployment that serves a pattern. Raises InvalidRequest for a
        call that the provider's dialect cannot express, KeyUnavailable for a deployment whose key cannot be read, and
        ReplicaFault for a fault of this process.
        """
        target = self._targets[deployment_id, call.kind]
        if target.credential is None and not model:
            return self._sent(target, deployment_id, call, context, on_activity)
        return self._sent_prepared(deployment_id, call, context, on_activity, model)

    async def _sent_prepared(
        self, deployment_id: str, call: Call, context: Pairs, on_activity: Callable[[], None], model: str
    ) -> Exchange:
        """Sends a call with a key that changes, or for a model of a pattern. A refusal of a key that has changed since
        is no outcome: the call is sent again with the present one.
        """
        target = await self._target(deployment_id, call.kind, model)
        exchange = await self._sent(target, deployment_id, call, context, on_activity)
        if target.credential and _is_key_refused(exchange) and await target.credential.renew(target.key):
            target = await self._target(deployment_id, call.kind, model)
            exchange = await self._sent(target, deployment_id, call, context, on_activity)
        if model and exchange.outcome is Outcome.UNSUPPORTED:
            exchange.judgement = UNKNOWN_MODEL
        return exchange

    async def _target(self, deployment_id: str, kind: Kind, model: str) -> Target:
        """Returns the target with the present key of its source, and for one model. Raises KeyUnavailable."""
        deployment = self._unprepared[deployment_id]
        credential = self.credentials.of(deployment.provider)
        if credential is not None and not await credential.renew():
            raise KeyUnavailable(f"The provider's key of the deployment {deployment_id} cannot be read.")
        target = self._prepared.get((deployment_id, kind, model))
        if target is None or (credential is not None and target.key != credential.key):
            if model:
                named = msgspec.structs.replace(deployment.provider, model=model)
                deployment = msgspec.structs.replace(deployment, provider=named)
            target = make_target(deployment, kind, credential)
            assert target is not None
            if len(self._prepared) >= PREPARED_MOST:
                self._prepared.clear()
            self._prepared[deployment_id, kind, model] = target
        return target

    async def _sent(
        self, target: Target, deployment_id: str, call: Call, context: Pairs, on_activity: Callable[[], None]
    ) -> Exchange:
        prepared, body = target.stream_request if call.is_stream else target.request, b""
        if call.resource is not None:
            prepared = prepared.below(call.resource.method, call.resource.path, call.resource.query)
        if call.resource is None or call.resource.counts_body:
            body = await self._body(deployment_id, call, target)
        more = header_lines(call, target.adapter, context)
        started = time.perf_counter()
        try:
            response = await self._http.send(prepared, body, target.connect_s, more)
            exchange = await _read(response, Sent(call, target, body, on_activity))
        except (*FAULTS, MemoryError) as fault:
            if is_own_fault(fault):
                _log.error("deployment %s: %s", deployment_id, fault_words(fault))
                raise ReplicaFault(f"This replica cannot send: {fault_words(fault)}.") from fault
            exchange = Exchange(judge_fault(fault), reason=fault_words(fault))
            exchange.is_sent = not isinstance(fault, NotConnected)
            exchange.is_free = exchange.outcome is Outcome.FAILURE or not exchange.is_sent
        except Defect as defect:
            raise _defect(deployment_id) from defect.__cause__
        if blames_chosen_account(exchange, call, target.adapter):
            exchange.judgement = REQUEST_FAILED
        if exchange.reason:
            exchange.reason = without_keys(exchange.reason, target.key)
        exchange.latency_ms = round((time.perf_counter() - started) * 1000)
        return exchange

    async def _body(self, deployment_id: str, call: Call, target: Target) -> bytes:
        """Returns the body in the provider's dialect. Raises InvalidRequest, ReplicaFault."""
        try:
            return await off_loop_if(len(call.body) > LARGE, target.adapter.request, call)
        except InvalidRequest:
            raise
        except Exception as defect:
            raise _defect(deployment_id) from defect


def _is_key_refused(exchange: Exchange) -> bool:
    """Returns whether the provider refused the key: of the statuses below, only a 400 may mean something else, and then
    its judgement is another one.
    """
    may_be_key = exchange.outcome is Outcome.FAILURE or exchange.judgement is REQUEST_FAILED
    return may_be_key and exchange.status in _KEY_REFUSED


def _defect(deployment_id: str) -> ReplicaFault:
    _log.exception("defect in the translation of a call to deployment %s", deployment_id)
    return ReplicaFault("An internal error occurred.", code="internal_error")


async def _read(response: Response, sent: Sent) -> Exchange:
    is_answer = 200 <= response.status < 300 and response.status not in _NO_ANSWER
    is_open = False
    try:
        if is_answer and sent.call.is_stream:
            exchange = await _read_preamble(response, sent)
            is_open = exchange.is_open
        else:
            exchange = await _read_whole(response, is_answer, sent)
    finally:
        if not is_open:
            response.close()
    exchange.status = exchange.status or response.status
    exchange.content_type = b"text/event-stream" if sent.call.is_stream else b"application/json"
    exchange.key = sent.target.key
    exchange.wire, exchange.choices, exchange.names = sent.target.adapter.wire, sent.call.choices, sent.names
    exchange.is_large = sent.is_large
    if exchange.outcome is Outcome.FAILURE:
        exchange.is_free = True  # no part of an answer has arrived
    if exchange.is_passed_on and sent.call.is_stream:
        exchange.convert = await off_loop_if(sent.is_large, sent.target.adapter.stream, sent.call)
    read_headers(exchange, response)
    return exchange


async def _read_whole(response: Response, is_answer: bool, sent: Sent) -> Exchange:
    parts, size = [], 0
    while part := await response.chunk():
        sent.on_activity()
        parts.append(part)
        size += len(part)
        if size > REPLY_MOST:
            return Exchange(OUR_LIMIT, reason="the answer is larger than 64 MiB")
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    is_large = size > LARGE or sent.is_large
    if is_answer:
        return await off_loop_if(is_large, answered_whole, sent, body)
    return await off_loop_if(is_large, refused_whole, response.status, response.content_type, sent, body)


async def _read_preamble(response: Response, sent: Sent) -> Exchange:
    preamble = Preamble(sent.target.adapter.wire)
    try:
        is_over = False
        while not is_over and (chunk := await response.chunk()):
            sent.on_activity()
            is_large = len(preamble.body) + len(chunk) > LARGE_CHUNK
            is_over = await off_loop_if(is_large, preamble.feed, chunk)
        if not is_over and not preamble.end():
            return Exchange(PASSING, reason="the stream ended before its first content")
    except NotEvents as fault:
        return await _read_no_stream(response, preamble, sent, str(fault))
    body = bytes(preamble.body)
    if preamble.error is not None:
        return await off_loop_if(sent.is_large, in_band, preamble.error, sent, body, preamble.is_documented_end)
    exchange = Exchange(SUCCESS, body=body)
    exchange.made = preamble.made if sent.target.adapter.reply is None else ()
    exchange.open(response)
    return exchange


async def _read_no_stream(response: Response, preamble: Preamble, sent: Sent, reason: str) -> Exchange:
    """Reads a plain body that answers a streaming request: an error object, or the whole answer."""
    body = preamble.body
    if bytes(body.lstrip()[:1]) in (b"{", b"["):
        while chunk := await response.chunk():
            sent.on_activity()
            body += chunk
            if len(body) > REPLY_MOST:
                return Exchange(FAILURE, reason=reason)
        is_large = len(body) > LARGE or sent.is_large
        return await off_loop_if(is_large, judged_no_stream, sent, bytes(body), reason)
    return Exchange(FAILURE, reason=no_reply(bytes(body), reason))
