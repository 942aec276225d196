"""Judges an answer as a strict client would: whether it is whole, whether it is an error in disguise, and its tokens.

Status 200 is not enough: a gateway under test may cut a stream, or send an error after the headers.
"""

import msgspec

NAME_MOST = 60  # characters of an error's code
TOKENS_MOST = 10**9  # a larger count is an error of the server, and its sums would fit no report


class _Content(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Content | None = None


class _Usage(msgspec.Struct):
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.completion_tokens if 0 <= self.completion_tokens <= TOKENS_MOST else 0


class _Error(msgspec.Struct):
    code: str | int | None = None
    type: str | None = None

    @property
    def name(self) -> str:
        """The code on one line of printable characters."""
        name = str(self.code or self.type or "without a code")[:NAME_MOST]
        return "".join(character if character.isprintable() else "?" for character in name)


class _Answer(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: _Error | None = None


class Verdict(msgspec.Struct, frozen=True):
    failure: str | None
    tokens: int = 0


# For invalid UTF-8 inside a string msgspec raises Python's own error.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError)
_decoder = msgspec.json.Decoder(_Answer)


def judge_error(status: int, body: bytes) -> str:
    """Returns the status, and the error's code if the body has one."""
    try:
        error = _decoder.decode(body).error
    except NOT_JSON:
        error = None
    return str(status) if error is None else f"{status} {error.name}"


def judge_plain(body: bytes) -> Verdict:
    try:
        answer = _decoder.decode(body)
    except NOT_JSON:
        return Verdict("200 with bad JSON" if body else "200 with an empty body")
    if answer.error is not None:
        return Verdict(f"200 with error {answer.error.name}")
    if not answer.choices:
        return Verdict("200 without choices")
    return Verdict(None, answer.usage.tokens if answer.usage else 0)


class StreamReader:
    """Takes the bytes of an event stream as they arrive, and judges the stream at its end."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_done = False
        self._fault: str | None = None
        self.content_events = 0
        self._usage_tokens: int | None = None

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._read_event(line[5:].strip())

    def judge(self) -> Verdict:
        """Returns the verdict. Its tokens are the server's count, or else the number of events with content."""
        tokens = self.content_events if self._usage_tokens is None else self._usage_tokens
        if self._fault is None and not self._is_done:
            return Verdict("stream without [DONE]", tokens)
        return Verdict(self._fault, tokens)

    def _read_event(self, data: bytes) -> None:
        if data == b"[DONE]":
            self._is_done = True
            return
        try:
            event = _decoder.decode(data)
        except NOT_JSON:
            self._fault = self._fault or "stream with bad JSON"
            return
        if event.error is not None:
            self._fault = self._fault or f"stream error {event.error.name}"
        if event.usage is not None:
            self._usage_tokens = event.usage.tokens
        if event.choices and event.choices[0].delta is not None and event.choices[0].delta.content:
            self.content_events += 1
