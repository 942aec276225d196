"""The answer of one deployment: a plain body, or a stream whose first content has arrived."""

import asyncio
from collections.abc import AsyncGenerator, Callable

from gateway.json.lenient import NOT_DECODED, read
from gateway.json.malformed import Malformed
from gateway.request.calls import Kind
from gateway.request.off_loop import LARGE_CHUNK, off_loop_if
from gateway.upstream.classify import (
    FAILURE,
    OUR_LIMIT,
    SUCCESS,
    Judgement,
    Refusal,
    judge_fault,
    judge_in_band,
    reason_of,
)
from gateway.upstream.error_words import try_again_ms
from gateway.upstream.fault_words import fault_words
from gateway.upstream.http.faults import HttpFault
from gateway.upstream.providers.adapters import Converter
from gateway.upstream.shortcut import Body, Outlet, Shortcut
from gateway.upstream.sse import DONE, Numbered, WholeEvents, parsed
from gateway.upstream.stream_progress import Progress
from gateway.upstream.upstream_errors import UpstreamError
from shared_state.records import NO_TOKENS, Outcome

HELD_MOST = 1_048_576  # bytes of an incomplete event: a larger one, such as an image's, is passed on in parts
EVENT_MOST = 16 * HELD_MOST  # bytes of an event that has to be translated
PROVIDER_REQUEST_ID = b"x-pllm-provider-request-id"
BODY_END_S = 0.1  # wait for the end of the body after a stream's last event
FAULTS = (HttpFault, OSError)


class _TooLarge(Exception):
    """An event that has to be translated is larger than this replica's limit, which is no fault of the provider."""


class StreamBroken(Exception):
    """A committed stream was cut, or ended with the provider's ``error``."""

    def __init__(self, error: UpstreamError | None, status: int = 502) -> None:
        super().__init__("the stream broke")
        self.error = error
        self.status = status


class Exchange:
    """The answer of a deployment so far."""

    def __init__(self, judgement: Judgement, *, status: int = 0, body: bytes = b"", reason: str = "") -> None:
        self.judgement = judgement  # final for a plain answer, provisional for a stream
        self.status = status
        self.body = body  # the plain answer, or a stream's bytes up to its first content
        self.reason = reason  # of a failure, in words without keys
        self.content_type = b"application/json"
        self.latency_ms = 0  # until ``body`` was complete
        self.counts = NO_TOKENS  # as the provider counted them
        self.cache_share = -1.0  # of the prompt, 0..1, that the provider read from its cache; -1 unknown
        self.retry_after_ms = judgement.cools_ms
        self.error: UpstreamError | None = None  # the provider's error object
        self.is_sent = True  # the request reached the provider
        self.is_free = False  # refused or never sent, so the provider charges nothing
        self.is_overdue = False  # aborted because its breaker opened as overdue
        self.is_documented_end = False  # an error that is an end of the dialect (`response.failed`)
        self.request_id = b""  # the provider's
        self.limits: tuple[tuple[bytes, bytes], ...] = ()  # the provider's rate limits, as headers for the client
        self.made: tuple[str, ...] = ()  # the ids of what the provider keeps, as far as they are known
        self.late = Outcome.TIMEOUT  # the outcome of a stream that is cut off at its deadline
        self.key = ""  # that was sent, to be masked in the provider's words
        self.wire = Kind.CHAT  # the kind of endpoint at the provider
        self.choices = 1  # the number of answers requested
        self.names: Callable[[UpstreamError], bool] = lambda _error: False  # as for `judge`
        self.is_large = False  # whether the request is large
        self.convert: Converter | None = None
        self._body: Body | None = None
        self._progress: Progress | None = None

    @property
    def outcome(self) -> Outcome:
        return self.judgement.outcome

    @property
    def refusal(self) -> Refusal | None:
        return self.judgement.refusal

    @property
    def is_state_unknown(self) -> bool:
        """Whether the account lacks what the request names by its id."""
        return self.judgement.is_state_unknown

    @property
    def is_quota_exhausted(self) -> bool:
        return self.judgement.is_quota_exhausted

    @property
    def is_passed_on(self) -> bool:
        """Whether the client gets ``body`` itself: an answer, or an end that the dialect documents."""
        return self.judgement is SUCCESS or self.is_documented_end

    @property
    def provider_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What the client gets to know of the provider's own headers."""
        return ((PROVIDER_REQUEST_ID, self.request_id), *self.limits) if self.request_id else self.limits

    @property
    def is_translated(self) -> bool:
        return self.convert is not None

    @property
    def is_complete(self) -> bool:
        """Whether the last event of a stream that succeeded has been passed on. Its body may still be open."""
        return self._progress is not None and self._progress.is_done and self._progress.error is None

    @property
    def next_number(self) -> int:
        """The sequence number of an event after those that the client got, in the dialect of responses."""
        if isinstance(self.convert, Numbered):
            return self.convert.last() + 1
        return self._progress.sequence_number + 1 if self._progress else 0

    @property
    def is_open(self) -> bool:
        """Whether a stream has more to read."""
        return self._body is not None

    @property
    def tokens(self) -> int:
        """The tokens that count against limits; -1 when the provider did not count them."""
        return self.counts.limited or (0 if self.is_free else -1)

    @property
    def input_tokens(self) -> int:
        """All tokens in, cached ones included."""
        return self.counts.prompt

    @property
    def output_tokens(self) -> int:
        return self.counts.output

    def open(self, body: Body) -> None:
        """Attaches the unread rest of a stream."""
        self._body = body

    async def chunks(self, outlet: Outlet | None = None) -> AsyncGenerator[bytes]:
        """Yields the stream's bytes from first to last in whole events, because half an event would make an error after
        it unreadable. An empty chunk shows that the provider sent bytes, but none for the client yet. Raises
        StreamBroken when the stream does not end properly; ``judgement`` and ``reason`` are final then.

        ``outlet``: takes chunks in the callback that receives them, instead of the caller. An empty chunk is yielded
        when it has no room; it may be called again once the caller wants the next chunk.
        """
        progress = self._progress = Progress(self.wire, self.choices, is_translated=self.is_translated)
        held, convert = WholeEvents(), self.convert
        shortcut = None if outlet is None else Shortcut(progress, held, convert, outlet)
        chunk = self.body
        try:
            while chunk and not progress.has_error:
                whole = held.take(chunk)
                is_large = len(chunk) > LARGE_CHUNK or len(whole) > LARGE_CHUNK
                if whole:
                    whole = await off_loop_if(is_large, progress.see, whole)
                elif held.size > (EVENT_MOST if convert else HELD_MOST):
                    if convert:
                        raise _TooLarge
                    whole = held.rest()
                    progress.skip()
                yield await off_loop_if(is_large, convert, whole) if whole and convert else whole
                if shortcut is not None and self._body is not None:
                    while await shortcut.is_stopped_by_reader(self._body):
                        yield b""
                if not progress.has_error:
                    chunk = await self._following(progress.is_done, shortcut)
            rest = progress.see(_completed(held.rest()))
            await off_loop_if(self.is_large, self._end, progress)
            if not progress.is_done:
                rest += progress.terminator
            if rest:
                yield convert(rest) if convert else rest
        except FAULTS as fault:
            self.judgement, self.reason = judge_fault(fault), f"the stream broke: {fault_words(fault)}"
            raise StreamBroken(None) from fault
        except _TooLarge as fault:
            self.judgement, self.reason = OUR_LIMIT, "an event of the stream is larger than 16 MiB"
            raise StreamBroken(None) from fault
        except Malformed as fault:
            if fault.before:
                yield fault.before
            self.judgement, self.reason = FAILURE, f"the stream is malformed: {fault}"[:200]
            raise StreamBroken(None) from fault
        finally:
            self.counts = progress.tokens()
            self.cache_share = progress.cache_share(self.counts)
            self.made = () if self.is_translated else progress.made

    def _end(self, progress: Progress) -> None:
        """Judges the end. Raises StreamBroken unless the dialect documents it."""
        if progress.error is not None:
            status, self.judgement = judge_in_band(progress.error, self.names)
            self.error, self.reason = progress.error, reason_of(status, progress.error, is_in_band=True)
            self.retry_after_ms = self.judgement.cools_ms or self.retry_after_ms
            if self.outcome is Outcome.THROTTLED and not self.retry_after_ms:
                self.retry_after_ms = try_again_ms(progress.error)
            if progress.has_error:
                raise StreamBroken(progress.error, status)
        elif not progress.is_done and not progress.has_finished:
            self.judgement, self.reason = FAILURE, "the stream ended before the answer was complete"
            raise StreamBroken(None)

    async def _following(self, is_done: bool, shortcut: Shortcut | None) -> bytes:
        """Returns the next bytes, empty at the end. A complete stream lacks only the end of its body: that is worth a
        short wait, so that the connection can be kept, but its absence is no error.
        """
        if shortcut is not None and shortcut.left:
            return shortcut.taken()
        if self._body is None:
            return b""
        if not is_done:
            return await self._body.chunk()
        try:
            async with asyncio.timeout(BODY_END_S):
                return await self._body.chunk()
        except (TimeoutError, *FAULTS):
            return b""

    def close(self) -> None:
        """Closes the connection if the answer was not read to its end."""
        body, self._body = self._body, None
        if body is not None:
            body.close()


def _completed(rest: bytes) -> bytes:
    """Returns the last event of a stream if it lacks only its blank line; nothing if it was cut."""
    event = parsed(rest)
    if event is None:
        return b""
    try:
        if event[1].strip() != DONE:
            read(event[1])
    except NOT_DECODED:
        return b""
    return rest.rstrip(b"\r\n") + b"\n\n"
