"""Slips in what an answer means, in where a stream is committed, and in the clocks."""

from tests.mutants.slip import Slip, Table

_GATEWAY = "tests/gateway/"
CLASSIFY = "tests/gateway/upstream/test_classify.py"
COOLDOWNS = "tests/gateway/upstream/test_retry_after.py"
WORDS = "tests/gateway/upstream/test_error_words.py"
CONTENT = "tests/gateway/upstream/test_stream_content.py"
PROGRESS = "tests/gateway/upstream/test_stream_progress.py"
SSE = "tests/gateway/upstream/test_sse.py"
ERRORS = "tests/gateway/upstream/test_upstream_errors.py"
FINAL_ERRORS = "tests/gateway/routing/test_final_errors.py"
DISPATCH = "tests/gateway/routing/test_dispatch.py"
INTERRUPT = "tests/gateway/request/test_interrupt.py"
UPSTREAM = "tests/gateway/upstream/test_client.py"
JUDGEMENT = "tests/gateway/upstream/test_judgement.py"
COMMIT = "tests/gateway/upstream/test_commit.py"
HTTP = "tests/gateway/upstream/test_provider_http.py"
OWN_FAULTS = "tests/gateway/routing/test_own_faults.py"
LAST_ATTEMPT = "tests/gateway/routing/test_last_attempt.py"
ASGI_CYCLE = "tests/gateway/http/test_asgi_cycle.py"
CHUNK_CLOCK = "tests/gateway/endpoints/test_chunk_clock.py"
SHORTCUT = "tests/gateway/upstream/test_shortcut.py"
HTTP_CLIENT = "tests/gateway/upstream/http/test_client.py"
HTTP_CONNECT = "tests/gateway/upstream/http/test_connect.py"
HTTP_CONNECTION = "tests/gateway/upstream/http/test_connection.py"
HTTP_REQUEST = "tests/gateway/upstream/http/test_request.py"
SHOULD_RETRY = "tests/gateway/routing/test_should_retry.py"
HUNG, IN_HAND = "tests/cluster/test_hung_provider.py", "tests/gateway/routing/test_in_hand.py"
FIRST_BYTE = "tests/gateway/endpoints/test_inference.py::test_stream_without_a_first_byte_in_time_falls_back"
FAILURE_LOG = "tests/gateway/routing/test_failure_log.py"
PROVIDER_HEADERS = "tests/gateway/endpoints/test_provider_headers.py"
CHARGING = "tests/gateway/routing/test_charging.py"

JUDGEMENTS: Table = {
    "gateway/upstream/classify.py": (
        Slip("404: Outcome.UNSUPPORTED,", "404: Outcome.FAILURE,", CLASSIFY, "a missing endpoint opens the breaker"),
        Slip("405: Outcome.UNSUPPORTED,", "405: Outcome.FAILURE,", CLASSIFY, "a 405 opens the breaker"),
        Slip("408: Outcome.TIMEOUT,", "408: Outcome.CLIENT_ERROR,", CLASSIFY, "a 408 of the provider is the client's"),
        Slip("424: Outcome.FAILURE,", "", CLASSIFY, "a failed generation of TGI is the client's error"),
        Slip("498: Outcome.OVERLOADED,", "", CLASSIFY, "a full flex tier of Groq is the client's error"),
        Slip("529: Outcome.OVERLOADED,", "529: Outcome.CLIENT_ERROR,", CLASSIFY, "overload is the client's error"),
        Slip(
            "if (outcome is Outcome.UNSUPPORTED or status in _MAY_NAME) and names(error):",
            "if names(error):",
            f"{CLASSIFY} {JUDGEMENT}",
            "any error that names a part of the request is the client's",
        ),
        Slip("if status == 413:", "if status == 414:", CLASSIFY, "a 413 takes no chain"),
        Slip("if status == 402:", "if status == 420:", CLASSIFY, "a 402 cools for a second only"),
        Slip(
            "if status in (401, 407, 408, 409):",
            "if status in (407, 408, 409):",
            CLASSIFY,
            "a 401 is judged by its words",
            survives="no words of a 401 mean anything else today; the line keeps it so",
        ),
        Slip(
            "and error_words.names_limit_with_room(error)",
            "",
            CLASSIFY,
            "a 413 for a request that never fits is throttled",
        ),
        Slip(
            "if status != 404 and error_words.reports_too_long",
            "if error_words.reports_too_long",
            CLASSIFY,
            "a 404 with the words is judged by them",
            survives="a 404 that speaks of a context length is not known of any provider; it stays a 404",
        ),
        Slip(
            "if status < 500 and status != 429 and error_words.reports_flagged",
            "if status < 400 and error_words.reports_flagged",
            CLASSIFY,
            "a flagged input opens the breaker",
        ),
        Slip(
            "if status == 402 and error_words.reports_too_expensive(error):",
            "if error_words.reports_too_expensive(None):",
            CLASSIFY,
            "somebody's large request cools the account",
        ),
        Slip(
            "if status in (400, 402, 403, 429) and error_words.reports_quota",
            "if status in (402, 403, 429) and error_words.reports_quota",
            CLASSIFY,
            "Anthropic's low balance is the client's error",
        ),
        Slip(
            "if status == 400 and error_words.reports_key_refused",
            "if status == 499 and error_words.reports_key_refused",
            CLASSIFY,
            "Google's bad key is the client's error",
        ),
        Slip(
            "if status in (400, 422, 500) and error_words.reports_endpoint",
            "if status in (422, 500) and error_words.reports_endpoint",
            CLASSIFY,
            "a model without the endpoint is the client's error",
        ),
        Slip(
            "status = 400 if is_request else 500",
            "status = 500",
            CLASSIFY,
            "a long prompt within a 200 opens the breaker",
        ),
        Slip(
            "Outcome.TIMEOUT if isinstance(fault, TimeoutError) else Outcome.FAILURE",
            "Outcome.FAILURE",
            CLASSIFY,
            "a timeout is a failure",
        ),
        Slip("isinstance(cause, MemoryError)", "False", CLASSIFY, "a replica without memory blames its providers"),
        Slip("errno.EMFILE, ", "", CLASSIFY, "a replica without descriptors blames its providers"),
        Slip("errno.EADDRNOTAVAIL, ", "", CLASSIFY, "a replica without ports blames its providers"),
        Slip(
            "isinstance(cause, socket.gaierror) and not _has_descriptor()",
            "False",
            CLASSIFY,
            "a resolver without descriptors blames the provider",
        ),
        Slip("[:REASON_MOST]", "", CLASSIFY, "a reason has no bound"),
        Slip('" ".join(error.message.split())', "error.message", CLASSIFY, "a reason breaks the line of the log"),
    ),
    "gateway/upstream/error_words.py": (
        Slip(
            "return int(requested[2]) > int(requested[1])",
            "return int(requested[2]) < int(requested[1])",
            CLASSIFY,
            "a request that never fits cools the deployment",
        ),
        Slip(
            "if status == 429 or (status_of(error, status) == 429 and status != 413):",
            "if False:",
            CLASSIFY,
            "a rate limit of tokens takes the chain of long prompts",
        ),
        Slip("|model token limit", "", CLASSIFY, "Moonshot's words are not known"),
        Slip("|range of input length", "", CLASSIFY, "DashScope's words are not known"),
        Slip("|max(?:imum)? (?:prompt|input|context) length", "", CLASSIFY, "xAI's words are not known"),
        Slip("|exceeds max(?:imum)? length", "", CLASSIFY, "Nova's words are not known"),
        Slip(
            'if error.param not in (None, "", "model") or "previous_response_not_found"',
            'if error.param is not None or "previous_response_not_found"',
            WORDS,
            "a missing model is the client's error",
        ),
        Slip(
            "if word and word not in model]",
            "if word]",
            WORDS,
            "a model that does not exist is the client's error",
        ),
        Slip(
            """b'"%b"' % name.encode("utf-8", "replace") in request""",
            """name.encode("utf-8", "replace") in request""",
            WORDS,
            "a word of the prompt makes a missing route the client's error",
        ),
        Slip(
            '_QUOTED.sub("", error.message.lower())[:_ECHO_MOST]',
            "error.message.lower()",
            CLASSIFY,
            "a provider that echoes a request takes a deployment away from everybody",
        ),
        Slip(
            "_QUOTA.search(_own_words(error)[:_BEGIN_MOST])",
            "_QUOTA.search(_own_words(error))",
            CLASSIFY,
            "an echo of the request uses up everybody's quota",
        ),
        Slip('(1 if wait[3] == "ms" else 1000)', "1000", WORDS, "a wait in ms is a thousand times as long"),
        Slip("int(wait[1] or 0) * 60_000 +", "", WORDS, "the minutes of a wait are forgotten"),
    ),
    "gateway/upstream/retry_after.py": (
        Slip(
            'if b"remaining" in name and left.strip() == b"0"',
            'if b"remaining" in name',
            COOLDOWNS,
            "a deployment with something left cools",
        ),
        Slip(
            "return min(max(waits, default=0), SERVED_MOST_MS)",
            "return max(waits, default=0)",
            COOLDOWNS,
            "a served answer cools for a day",
        ),
        Slip(
            'if left.startswith((b"0", b"-")):', "if True:", COOLDOWNS, "a 429 waits for the limit that is not used up"
        ),
        Slip("if number >= _SINCE_1970_MS:", "if False:", COOLDOWNS, "a reset in ms since 1970 cools for a day"),
        Slip(
            "(_sent_at_s(dated) if number >= _SINCE_1970_S else 0)",
            "0",
            COOLDOWNS,
            "a reset since 1970 cools for a day",
        ),
        Slip(
            "return round(min(max(ms, 0), RETRY_AFTER_MOST_MS))",
            "return round(min(max(ms, 1000), RETRY_AFTER_MOST_MS))",
            COOLDOWNS,
            "a reset of 0 throttles a served deployment",
        ),
        Slip(
            'exact = headers.get(b"retry-after-ms", b"")',
            'exact = headers.get(b"x", b"")',
            COOLDOWNS,
            "retry-after-ms is not read",
        ),
        Slip("if ms == ms else 0", "", COOLDOWNS, "a Retry-After of nan breaks the request"),
    ),
    "gateway/upstream/upstream_errors.py": (
        Slip(
            '        return None\n    inner = value.get("error")\n    if isinstance(inner, list):',
            '        return None\n    inner = value.get("error")\n    if False:',
            ERRORS,
            "an error in a list has no words",
        ),
        Slip(
            '_BARE_KEYS = ("message", "Message", "detail", "msg",',
            '_BARE_KEYS = ("message", "Message", "msg",',
            ERRORS,
            "FastAPI's errors have no words",
        ),
        Slip(
            'value.get("code") is not None else value.get("error_code")',
            'value.get("code") is not None else None',
            ERRORS,
            "Databricks' code is not read",
        ),
        Slip(
            'if not is_blank(value.get("error")) or value.get("object") == "error" or',
            'if "error" in value or value.get("object") == "error" or',
            ERRORS,
            "an answer with `error: null` is an error",
        ),
        Slip("if not value.keys() & _ANSWERS and", "if", ERRORS, "an answer with a detail is an error"),
        Slip("if 400 <= number <= 599:", "if number:", ERRORS, "a code of three digits is taken for a status"),
        Slip("len(code) == 3", "True", ERRORS, "Mistral's code is taken for a status"),
        Slip(
            "if name.startswith(_REQUEST_PREFIXES):", "if False:", ERRORS, "a bad image within a 200 opens the breaker"
        ),
        Slip(
            "not isinstance(value, bool) and",
            "",
            ERRORS,
            "a code `true` is a status",
            survives="True is no status between 400 and 599, and an error with `code: true` is not known",
        ),
        Slip("<= FIELDS_MOST", ">= 0", ERRORS, "an error's fields have no bound"),
    ),
    "gateway/upstream/stream_content.py": (
        Slip(
            'if choice.get("finish_reason") or choice.get("text"):',
            'if choice.get("text"):',
            CONTENT,
            "an empty answer is never committed",
        ),
        Slip(
            "each for key, each in delta.items() if key not in _NOT_CONTENT",
            "each for key, each in delta.items()",
            CONTENT,
            "a role-only delta commits the stream",
        ),
        Slip(
            'not in ("text", "thinking") or',
            'not in ("text",) or',
            CONTENT,
            "an empty block of thinking commits the stream",
        ),
        Slip(
            'return isinstance(delta, dict) and bool(delta.get("stop_reason"))',
            "return False",
            CONTENT,
            "a message that ends without content waits for its stop",
        ),
        Slip(
            '"response.queued", "keepalive"',
            '"response.queued"',
            f"{CONTENT} {COMMIT}",
            "a keep-alive commits the stream",
        ),
        Slip('if kind.endswith("part.added"):', "if False:", CONTENT, "an empty part commits the stream"),
        Slip(
            'if wire is Kind.RESPONSE and kind == "response.failed":',
            "if False:",
            CONTENT,
            "a failed response is content",
        ),
        Slip(
            'if name == "error" or kind == "error":', 'if kind == "error":', CONTENT, "an event named error is content"
        ),
        Slip("or self._start > HOLD_MOST:", ":", CONTENT, "a preamble is held without end"),
        Slip(
            "return len(self.body) - self._start > EVENT_MOST", "return False", CONTENT, "an event is held without end"
        ),
        Slip("if len(event) > EVENT_MOST or", "if", CONTENT, "the judgement of a large event depends on packets"),
        Slip(
            "max(self._start, self._searched - _END_MOST)",
            "max(self._start, self._searched)",
            CONTENT,
            "an event's end that two reads share is missed",
        ),
        Slip(
            'if not self._has_data:\n                raise NotEvents("the stream ended',
            'if False:\n                raise NotEvents("the stream ended',
            CONTENT,
            "a stream that ends before it began is a success",
        ),
        Slip("if not begins_like_events(begin):", "if False:", CONTENT, "a page of HTML is held until it ends"),
        Slip(
            "return kind if isinstance(kind, str) and kind else name",
            "return name or str(kind)",
            CONTENT,
            "the name of an event beats its type",
            survives="where both are there they are equal in every recorded stream",
        ),
    ),
    "gateway/upstream/stream_progress.py": (
        Slip(
            'if self.is_done or self.has_error:\n            return b""',
            'if self.has_error:\n            return b""',
            PROGRESS,
            "what follows the terminator is passed on",
        ),
        Slip(
            "self.is_done = self._wire not in (Kind.MESSAGE, Kind.RESPONSE)",
            "self.is_done = True",
            PROGRESS,
            "[DONE] completes a message that was cut",
        ),
        Slip(
            "self.has_error = not self.is_done",
            "self.has_error = True",
            PROGRESS,
            "a failed response is replaced by an error of ours",
        ),
        Slip(
            "len(self._finished) >= max(1, self._choices)",
            "bool(self._finished)",
            PROGRESS,
            "one of two answers completes both",
        ),
        Slip(
            "self.has_finished = self.has_finished or is_end",
            "self.has_finished = is_end",
            PROGRESS,
            "an event behind the stop reason makes the message incomplete",
        ),
        Slip(
            "if self.is_done:\n                break",
            "",
            PROGRESS,
            "what comes in the terminator's packet behind it is passed on",
        ),
        Slip(
            "kept.append(self._counted(event))",
            "kept.append(event)",
            PROGRESS,
            "usage next to a finish_reason is not read",
        ),
        Slip("self._is_within = True", "", PROGRESS, "marks inside of a long event are taken for marks"),
        Slip(
            "return int(numbers[-1]) if numbers else -1",
            "return int(numbers[0]) if numbers else -1",
            PROGRESS,
            "an error event repeats an earlier number",
        ),
    ),
    "gateway/upstream/stream_usage.py": (
        Slip("if each is not None}", "}", PROGRESS, "a null in a later usage of a message erases the earlier count"),
        Slip(
            "usage = msgspec.structs.replace(self._usage, **named)",
            "pass",
            PROGRESS,
            "a later usage of a message erases the earlier one",
        ),
        Slip(
            "chunk.usage or (chunk.x_groq.usage if chunk.x_groq else None)",
            "chunk.usage",
            PROGRESS,
            "Groq's usage is not read",
        ),
    ),
    "gateway/upstream/sse.py": (
        Slip(
            '_ENDS = (b"\\n\\n", b"\\n\\r\\n", b"\\r\\r")',
            '_ENDS = (b"\\n\\n", b"\\n\\r\\n")',
            SSE,
            "lines that end in CR have no events",
        ),
        Slip(
            "return max(ends, default=0)", "return min(ends, default=0)", SSE, "whole events wait for the next packet"
        ),
        Slip(
            "return (name, data) if data.strip() else None",
            "return (name, data)",
            f"{SSE} {CONTENT}",
            "an empty data line is an event",
        ),
        Slip('line[5:].removeprefix(b" ")', "line[6:]", SSE, "data without a blank after its colon loses a byte"),
        Slip(
            "event.removeprefix(BYTE_ORDER_MARK).splitlines()",
            "event.splitlines()",
            SSE,
            "the first event behind a BOM is lost",
        ),
    ),
    "gateway/upstream/exchange.py": (
        Slip(
            "return self.judgement is SUCCESS or self.is_documented_end",
            "return self.judgement is SUCCESS",
            f"{COMMIT} {JUDGEMENT}",
            "a failed response is replaced by an error of ours",
        ),
        Slip(
            "elif not progress.is_done and not progress.has_finished:",
            "elif not progress.is_done:",
            f"{COMMIT} {UPSTREAM}",
            "a complete stream without [DONE] is a failure",
        ),
        Slip(
            "rest += progress.terminator",
            "pass",
            f"{COMMIT} {UPSTREAM}",
            "a client waits for the [DONE] that its provider left out",
        ),
        Slip(
            "if progress.has_error:\n                raise",
            "if False:\n                raise",
            UPSTREAM,
            "an error in a stream is the end of it",
        ),
        Slip(
            "async with asyncio.timeout(BODY_END_S):",
            "async with asyncio.timeout(None):",
            UPSTREAM,
            "a complete stream waits for the end of its body",
        ),
        Slip(
            "self.judgement, self.reason = judge_fault(fault)",
            "self.reason = judge_fault(fault).outcome.value and",
            UPSTREAM,
            "a stream that is cut is a success",
        ),
    ),
    "gateway/upstream/answer_headers.py": (
        Slip(
            "exchange.retry_after_ms = served_ms(waits, dated)",
            "pass",
            UPSTREAM,
            "a provider with nothing left is called again",
        ),
        Slip(
            "elif not exchange.retry_after_ms:",
            "else:",
            f"{UPSTREAM} {JUDGEMENT}",
            "the provider's Retry-After shortens a quota's hour",
        ),
        Slip(
            "throttled_ms(waits, dated) or named_ms",
            "named_ms",
            JUDGEMENT,
            "a 429's own headers do not count",
        ),
    ),
    "gateway/upstream/sent_headers.py": (
        Slip(
            "return any(name in _CHOOSES_ACCOUNT & adapter.knows for name, _ in call.known)",
            "return False",
            PROVIDER_HEADERS,
            "a client opens a breaker by an organization that does not exist",
        ),
        Slip(
            "if header[0] in adapter.knows",
            "if header[0]",
            PROVIDER_HEADERS,
            "a provider gets the client's organization at another",
        ),
    ),
    "gateway/upstream/client.py": (
        Slip(
            "if target.credential and _is_key_refused(exchange) and await target.credential.renew(target.key):",
            "if False:",
            "tests/gateway/upstream/test_credentials.py",
            "each token that expires opens a breaker",
        ),
        Slip(
            "if model and exchange.outcome is Outcome.UNSUPPORTED:",
            "if False:",
            "tests/gateway/routing/test_patterns.py",
            "a client closes a pattern for all by a name that does not exist",
        ),
        Slip("if is_own_fault(fault):", "if False:", OWN_FAULTS, "a replica without descriptors opens breakers"),
        Slip(
            "exchange.is_free = exchange.outcome is Outcome.FAILURE or not exchange.is_sent",
            "pass",
            CHARGING,
            "a request that was never sent is charged",
        ),
        Slip(
            "exchange.reason = without_keys(exchange.reason, target.key)",
            "pass",
            f"{JUDGEMENT} {HTTP}",
            "a reason shows the provider's key",
        ),
        Slip(
            "200 <= response.status < 300 and response.status not in _NO_ANSWER",
            "200 <= response.status < 300",
            HTTP,
            "a part of an answer is an answer",
        ),
        Slip(
            "if not is_over and not preamble.end():",
            "if not is_over:",
            COMMIT,
            "a stream without its last blank line is a failure",
        ),
        Slip(
            "if preamble.error is not None:",
            "if False:",
            f"{UPSTREAM} {COMMIT}",
            "an error after a preamble is an answer",
        ),
        Slip("size > REPLY_MOST", "False", HTTP, "an answer without end fills the memory"),
    ),
    "gateway/upstream/whole_answer.py": (
        Slip(
            "exchange.error, exchange.is_free = error, True",
            "exchange.error = error",
            f"{CHARGING} {JUDGEMENT}",
            "a 4xx is charged",
        ),
        Slip(
            "error = announced(adapter.wire, body)",
            "error = None",
            JUDGEMENT,
            "an error in the body of a 200 is an answer",
        ),
    ),
    "gateway/routing/deadline.py": (
        Slip(
            "        if interrupt.take(Cause.OVERDUE):\n            return self.overdue()",
            "        interrupt.take(Cause.OVERDUE)",
            HUNG,
            "a call that moves on ends without an answer",
        ),
        Slip(
            "_is_cut_short = deadline.at < own_at and (deadline.is_from_client or not is_first)",
            "_is_cut_short = deadline.at < own_at",
            DISPATCH,
            "a hang is never the provider's fault",
        ),
        Slip(
            "is_neutral = self._is_cut_short or self.has_received",
            "is_neutral = self._is_cut_short",
            DISPATCH,
            "a provider that was cut off while it sent is to blame",
        ),
        Slip(
            "deployment.first_token_timeout_ms if is_stream else None",
            "deployment.first_token_timeout_ms",
            DISPATCH,
            "first_token_timeout bounds plain answers",
        ),
        Slip(
            "own_at = min(own_at, now + first_token_ms / 1000)", "pass", DISPATCH, "first_token_timeout bounds nothing"
        ),
        Slip("self.at = min(own_at, deadline.at)", "self.at = own_at", DISPATCH, "an attempt outlives its request"),
    ),
    "gateway/routing/dispatch.py": (
        Slip(
            "interrupt.begin_waiting(deployment.first_byte_timeout_ms / 1000)",
            "pass",
            FIRST_BYTE,
            "silence before the first byte has no end",
        ),
        Slip(
            "if call.is_stream:\n            interrupt.begin_waiting",
            "if True:\n            interrupt.begin_waiting",
            f"{COMMIT} {DISPATCH}",
            "a plain answer is cut at first_byte_timeout",
        ),
        Slip(
            "interrupt.clear_deadline()  # a stream",
            "pass  # a stream",
            COMMIT,
            "timeout bounds a stream that delivers",
        ),
        Slip(
            "interrupt.end_waiting()\n            interrupt.clear()",
            "pass",
            f"{COMMIT} {UPSTREAM} {DISPATCH}",
            "the silence of one candidate cuts the next one",
            survives="the next attempt begins its silence anew; only a decision that takes as long would be cut",
        ),
        Slip(
            "is_sent=not isinstance(error, ReplicaFault)",
            "is_sent=True",
            OWN_FAULTS,
            "what could not be sent is charged",
        ),
        Slip(
            "self._settle_unsent(selected.permit, attempt, is_final=not itinerary.candidates)",
            "self._settle_unsent(selected.permit, attempt, is_final=True)",
            f"{CHARGING} {DISPATCH} {_GATEWAY}endpoints",
            "a request that goes on after an unsent attempt is counted twice",
        ),
        Slip(
            "is_final=verdict.step is Step.FAIL)",
            "is_final=verdict.step in (Step.FAIL, Step.REPEAT))",
            LAST_ATTEMPT,
            "a request that its second attempt saves counts as failed, and sheds others",
        ),
        Slip(
            "elif has_no_candidate and state.second_attempt is not None:",
            "elif False:",
            LAST_ATTEMPT,
            "an open neighbour takes the second attempt away",
        ),
        Slip(
            "in_hand = self._in_hand.held(deployment.id, interrupt, limits) if may_move else _NOT_HELD",
            "in_hand = nullcontext()",
            HUNG,
            "calls in hand wait for a provider that hangs",
        ),
    ),
    "gateway/routing/next_step.py": (
        Slip(
            "is_last = not state.itinerary.candidates or is_spent or not",
            "is_last = not state.itinerary.candidates or not",
            DISPATCH,
            "max_attempts bounds nothing",
        ),
        Slip(
            "(has_chain or exchange.judgement.moves_on)",
            "has_chain",
            f"{UPSTREAM} {JUDGEMENT}",
            "no failure falls back",
        ),
        Slip(
            "if is_last and exchange.is_documented_end:",
            "if False:",
            f"{COMMIT} {JUDGEMENT}",
            "a failed response is replaced by an error of ours",
        ),
        Slip(
            "is_last and number == 1",
            "is_last",
            DISPATCH,
            "a client is told the fallback's objection, not the first one's failure",
        ),
        Slip(
            "second_attempt = None if is_spent else _second_attempt",
            "second_attempt = _second_attempt",
            f"{DISPATCH} {LAST_ATTEMPT}",
            "max_attempts does not bound the second attempt",
        ),
        Slip(
            "if state.has_repeated or exchange.is_documented_end",
            "if exchange.is_documented_end",
            f"{LAST_ATTEMPT} {UPSTREAM}",
            "the last deployment is called until max_attempts or the retry budget is used up",
        ),
        Slip(
            "if request.interrupt.time() + wait_s >= request.deadline.at:",
            "if False:",
            LAST_ATTEMPT,
            "a client waits for a pause that its deadline does not allow",
        ),
        Slip(
            "is_next_last = not has_chain and not exchange.is_state_unknown and counted == max_attempts - 1",
            "is_next_last = False",
            LAST_ATTEMPT,
            "all attempts go to the tier that fails",
        ),
    ),
    "gateway/routing/last_attempt.py": (
        Slip(
            "if not exchange.judgement.is_passing or retry_after_s",
            "if retry_after_s",
            LAST_ATTEMPT,
            "a refused key is sent twice",
        ),
        Slip(
            "or retry_after_s > RETRY_AFTER_MOST_S:",
            ":",
            LAST_ATTEMPT,
            "a client waits for as long as its provider wants",
        ),
        Slip("if retry_after_s:", "if False:", LAST_ATTEMPT, "the provider's own pause is ignored"),
        Slip(
            "retry_after_s + COOLED_S * (1 + random.random())",
            "retry_after_s",
            LAST_ATTEMPT,
            "the second attempt finds its deployment still cooling",
        ),
        Slip(
            "PAUSE_S * (1 - JITTER_RATIO * random.random())",
            "PAUSE_S",
            LAST_ATTEMPT,
            "all clients of one fault return in the same moment",
        ),
    ),
    "gateway/routing/in_hand.py": (
        Slip(
            "if not limits.has_received:", "if True:", IN_HAND, "a stream that has begun is cut when the breaker opens"
        ),
        Slip("del calls[interrupt]", "pass", IN_HAND, "a call that has its answer is cut when the breaker opens"),
    ),
    "gateway/upstream/shortcut.py": (
        Slip(
            "if len(chunk) + self._held.size > LARGE_CHUNK:",
            "if False:",
            SHORTCUT,
            "a chunk of thousands of events holds the loop",
        ),
        Slip(
            "or self._progress.has_error)",
            ")",
            SHORTCUT,
            "an error in a stream does not end it on the short way",
        ),
        Slip(
            "return self._is_full",
            "return False",
            f"{SHORTCUT} {INTERRUPT}",
            "a client that reads slowly fills the memory",
        ),
    ),
    "gateway/endpoints/chunk_clock.py": (
        Slip(
            "if self._is_full:",
            "if False:",
            CHUNK_CLOCK,
            "a slow client's pauses are counted as chunks",
        ),
        Slip(
            "write(self.passed(chunk))",
            "write(chunk)",
            CHUNK_CLOCK,
            "gaps on the short way are not counted",
        ),
    ),
    "gateway/http/asgi_cycle.py": (
        Slip(
            "return not self._wire.is_full",
            "return True",
            f"{ASGI_CYCLE} {INTERRUPT}",
            "a client that reads nothing fills the memory",
        ),
        Slip(
            "scope, self._scope = self._scope, {}",
            "scope = self._scope",
            "tests/gateway/http/test_request_ends.py",
            "an answered request stays in memory until the collector runs",
        ),
    ),
    "gateway/upstream/http/client.py": (
        Slip(
            " or self._loop.time() - sent_s > IDLE_CLOSE_MOST_S:",
            ":",
            "tests/gateway/upstream/http/test_client.py",
            "a provider that dies at work is paid twice",
        ),
        Slip(
            "if kept.has_received or self._is_closed or self._loop.time() - sent_s > IDLE_CLOSE_MOST_S:",
            "if self._is_closed:",
            f"{HTTP_CLIENT} {UPSTREAM}",
            "a request is sent twice although its answer had begun",
        ),
        Slip(
            "if kept.has_received or self._is_closed or self._loop.time() - sent_s > IDLE_CLOSE_MOST_S:",
            "if kept.has_received or self._loop.time() - sent_s > IDLE_CLOSE_MOST_S:",
            HTTP_CLIENT,
            "a client that closes sends requests again, on connections that stay open",
        ),
        Slip(
            " and _is_silent(connection)",
            "",
            HTTP_CLIENT,
            "an answer that lies in the socket is taken for the next one",
        ),
        Slip(
            "now_s < connection.idle_until_s and",
            "True and",
            HTTP_CLIENT,
            "a connection that its server will close is used",
        ),
        Slip(
            "        kept = self._kept(origin)",
            "        kept = None",
            HTTP_CLIENT,
            "each call takes a new connection",
        ),
    ),
    "gateway/upstream/http/connection.py": (
        Slip(
            "if self._interim > INTERIM_MOST:",
            "if False:",
            f"{HTTP_CONNECTION} {HTTP}",
            "a provider's endless interim answers freeze a replica",
        ),
        Slip(
            "elif self._received - self._body_size > OTHER_MOST + self._body_size:",
            "elif False:",
            f"{HTTP_CONNECTION} {HTTP}",
            "a provider's endless trailer holds a call and its connection",
        ),
        Slip(
            "if self.is_idle:\n            self.abort()\n            return\n        if self._backlog",
            "if self._backlog",
            f"{HTTP_CONNECTION} {HTTP}",
            "the answer to another call is taken for this one's",
        ),
        Slip(
            "if self._due is due:\n                self.abort()",
            "if True:\n                self.abort()",
            HTTP_CONNECTION,
            "a cancelled call breaks the next call on its connection",
        ),
        Slip(
            "if may_keep and not self._transport.get_write_buffer_size():",
            "if may_keep:",
            HTTP_CONNECTION,
            "the rest of a request is read as the next one",
        ),
        Slip(
            "may_keep = self._keeps_alive and not self._is_surplus and",
            "may_keep = self._keeps_alive and",
            HTTP_CONNECTION,
            "bytes after an answer begin the next one",
        ),
        Slip(
            "self._lasts_until_close and error is None",
            "True",
            HTTP_CONNECTION,
            "a body that is cut is whole",
        ),
    ),
    "gateway/upstream/http/request.py": (
        Slip(
            "or _NOT_IN_VALUES.search(value)",
            "",
            HTTP_REQUEST,
            "a value breaks out of its line",
        ),
    ),
    "gateway/upstream/http/connect.py": (
        Slip(
            "server_hostname=name)",
            'server_hostname="localhost" if name else None)',
            HTTP_CONNECT,
            "a certificate of any name is taken",
        ),
    ),
    "gateway/routing/routing_state.py": (
        Slip(
            "chain.from_iterable((self.route.candidates, *chains))",
            "chain.from_iterable(chains)",
            f"{DISPATCH} {SHOULD_RETRY}",
            "a client is kept from a retry that another candidate would answer",
        ),
        Slip(
            "chain.from_iterable((self.route.candidates, *chains))",
            "self.route.candidates",
            SHOULD_RETRY,
            "a client is kept from a retry that the rest of its chain would answer",
        ),
    ),
    "gateway/routing/itinerary.py": (
        Slip(
            "return refusal in self.turned",
            "return bool(chain)",
            f"{UPSTREAM} {DISPATCH} {JUDGEMENT}",
            "a chain ends at its first model that refuses as well",
        ),
    ),
    "gateway/routing/answer.py": (
        Slip(
            "self._outcome = Outcome.TIMEOUT\n",
            "self._outcome = Outcome.CANCELLED\n",
            f"{UPSTREAM} {COMMIT}",
            "silence in a stream is nobody's fault",
        ),
        Slip(
            "self._outcome = Outcome.CANCELLED\n        return UpstreamTimedOut",
            "self._outcome = Outcome.TIMEOUT\n        return UpstreamTimedOut",
            DISPATCH,
            "a client's own deadline opens the breaker",
        ),
        Slip(
            "interrupt.end_waiting()\n                    yield chunk",
            "yield chunk",
            INTERRUPT,
            "a slow reader is the provider's silence",
        ),
        Slip("failure.provider = provider_fields(", "_ = (", UPSTREAM, "an error in mid-stream loses its words"),
        Slip(
            "self._outcome = self.exchange.outcome\n\n",
            "\n",
            f"{COMMIT} {JUDGEMENT}",
            "a response that failed at its end is a success",
        ),
        Slip(
            "if self._outcome in _COOLING else 0",
            "if self._outcome is Outcome.SUCCESS else 0",
            f"{JUDGEMENT} {COMMIT}",
            "a documented end that is throttled does not cool",
        ),
    ),
    "gateway/routing/final_errors.py": (
        Slip(
            "error.is_in_vain = error.is_in_vain and has_tried_all and all(each.is_lasting for each in tried)",
            "error.is_in_vain = error.is_in_vain and has_tried_all",
            SHOULD_RETRY,
            "a client is kept from a retry although one of the faults passes",
        ),
        Slip(
            "exchange.status in (409, 429) or exchange.status >= 500  # by",
            "exchange.status == 409 or exchange.status >= 500  # by",
            SHOULD_RETRY,
            "a prompt that no rate limit can hold is sent three times",
        ),
        Slip(
            "[t for t in tried if t.outcome is not Outcome.UNSUPPORTED] or tried",
            "tried",
            f"{JUDGEMENT} {FINAL_ERRORS}",
            "a missing endpoint hides what the next candidate answered",
        ),
        Slip(
            "value[:FIELD_MOST] if isinstance(value, str) else value",
            "value",
            HTTP,
            "a provider's fields have no bound",
        ),
        Slip(
            "without_keys(text, key)",
            "text",
            HTTP,
            "an error shows the provider's key",
        ),
        Slip(
            "RateLimited(message, retry_after_ms=min(waits)",
            "RateLimited(message, retry_after_ms=max(waits)",
            FINAL_ERRORS,
            "a client waits for the deployment that is back last",
        ),
    ),
    "gateway/routing/failure_log.py": (
        Slip(
            "kind = f\"{outcome.value} {reason.partition(':')[0]}\"",
            'kind = f"{outcome.value} {reason}"',
            FAILURE_LOG,
            "one line for each request",
        ),
        Slip(
            "if self._latest.get(deployment_id) == kind:",
            "if False:",
            FAILURE_LOG,
            "one line for each request",
            survives="within a minute the second rule does the same; the first one is what makes it cheap",
        ),
        Slip(
            "if now - logged_s.get(kind, -AGAIN_S) < AGAIN_S:",
            "if False:",
            FAILURE_LOG,
            "reasons that alternate flood the log",
        ),
        Slip(
            "if outcome not in _LOGGED:",
            "if False:",
            FAILURE_LOG,
            "a client's mistake is a warning about the deployment",
        ),
    ),
}
