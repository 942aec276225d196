"""Verdicts on answers: status 200 is not enough."""

import pytest

from loadtest.load.answers import StreamReader, Verdict, judge_error, judge_plain

CHUNK = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def judge_stream(*parts: bytes) -> Verdict:
    reader = StreamReader()
    for part in parts:
        reader.feed(part)
    return reader.judge()


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (b'{"choices":[{}],"usage":{"completion_tokens":7}}', Verdict(None, 7)),
        (b'{"choices":[{}]}', Verdict(None, 0)),
        (b'{"choices":[{}],"usage":{"completion_tokens":-7}}', Verdict(None, 0)),
        (b'{"choices":[{}],"usage":{"completion_tokens":99999999999999999999}}', Verdict(None, 0)),
        (b"", Verdict("200 with an empty body")),
        (b'{"choices":[', Verdict("200 with bad JSON")),
        (b"<html>", Verdict("200 with bad JSON")),
        (b'{"error":{"code":"\xff"}}', Verdict("200 with bad JSON")),
        (b"[]", Verdict("200 with bad JSON")),
        (b"{}", Verdict("200 without choices")),
        (b'{"error":{"code":"upstream_error"}}', Verdict("200 with error upstream_error")),
    ],
)
def test_plain_answer_needs_choices_and_no_error(body: bytes, verdict: Verdict) -> None:
    assert judge_plain(body) == verdict


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"error":{"code":"server_is_overloaded","type":"x"}}', "503 server_is_overloaded"),
        (b'{"error":{"code":null,"type":"server_error"}}', "503 server_error"),
        (b'{"error":{"code":503}}', "503 503"),
        (b'{"error":{}}', "503 without a code"),
        (b'{"error":{"code":"a\\n\\u001b[31mb"}}', "503 a??[31mb"),
        (b'{"error":{"code":"' + b"x" * 5000 + b'"}}', "503 " + "x" * 60),
        (b"<html>", "503"),
        (b'{"error":{"code":"\xff"}}', "503"),
        (b"", "503"),
    ],
)
def test_error_is_named_by_status_and_code(body: bytes, name: str) -> None:
    assert judge_error(503, body) == name


def test_stream_to_its_done_is_sound() -> None:
    assert judge_stream(CHUNK, CHUNK, DONE) == Verdict(None, 2)


def test_reported_usage_wins_over_counted_events() -> None:
    usage = b'data: {"choices":[],"usage":{"completion_tokens":9}}\n\n'

    assert judge_stream(CHUNK, usage, DONE) == Verdict(None, 9)


def test_stream_without_done_is_a_failure() -> None:
    assert judge_stream(CHUNK) == Verdict("stream without [DONE]", 1)


def test_error_object_in_a_stream_is_a_failure_even_before_done() -> None:
    error = b'data: {"error":{"code":"upstream_timeout","message":"m"}}\n\n'

    assert judge_stream(CHUNK, error, DONE) == Verdict("stream error upstream_timeout", 1)
    assert judge_stream(CHUNK, error) == Verdict("stream error upstream_timeout", 1)


def test_broken_event_is_a_failure() -> None:
    assert judge_stream(b'data: {"choi\n\n', DONE) == Verdict("stream with bad JSON")
    assert judge_stream(b'data: {"error":{"code":"\xff"}}\n\n', DONE) == Verdict("stream with bad JSON")


def test_stream_may_arrive_byte_by_byte() -> None:
    data = CHUNK + CHUNK + DONE

    assert judge_stream(*(data[index : index + 1] for index in range(len(data)))) == Verdict(None, 2)


def test_comments_carriage_returns_and_missing_spaces_are_read() -> None:
    data = b": keep-alive\r\n\r\n" + CHUNK.replace(b"\n", b"\r\n") + b"data:[DONE]\r\n\r\n"

    assert judge_stream(data) == Verdict(None, 1)


def test_role_event_without_content_is_no_token() -> None:
    role = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'

    assert judge_stream(role, CHUNK, DONE) == Verdict(None, 1)
