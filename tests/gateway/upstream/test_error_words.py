"""Meanings of error messages that no status has."""

import pytest

from gateway.upstream.error_words import names_part_of, try_again_ms
from gateway.upstream.upstream_errors import UpstreamError


@pytest.mark.parametrize(
    ("request_body", "error"),
    [
        (b'{"file_id": "file_gone"}', UpstreamError("File not found: file_gone")),
        (b'{"ids": ["vs_abc123"]}', UpstreamError("Vector store with id ['vs_abc123'] not found.")),
        (b'{"file": "file-Ab12"}', UpstreamError("No such File object: file-Ab12")),
        (b'{"id": "0123456789abcdef"}', UpstreamError("Thread 0123456789abcdef was not found")),
        (b"{}", UpstreamError("Previous response not found.", code="previous_response_not_found")),
        (b"{}", UpstreamError("Not found.", param="previous_response_id")),
        (b'{"uri": "files/abc-123xyz"}', UpstreamError("File files/abc-123xyz not found.")),
        (b'{"uri": "gs://bucket/video.mp4"}', UpstreamError("Object gs://bucket/video.mp4 does not exist.")),
        (b'{"url": "https://x.test/a.png"}', UpstreamError("Could not fetch https://x.test/a.png: 404.")),
        (b'{"voice": "sol"}', UpstreamError("Voice 'sol' not found.")),
    ],
)
def test_404_of_something_that_the_request_names_is_known(request_body: bytes, error: UpstreamError) -> None:
    assert names_part_of(request_body, error, "gpt-4")


@pytest.mark.parametrize(
    ("request_body", "error"),
    [
        (b'{"model": "gpt-4"}', UpstreamError("The model `gpt-4` does not exist", code="model_not_found")),
        (b'{"model": "gpt-4"}', UpstreamError("The model `gpt-4` does not exist", param="model")),
        (b'{"model": "gpt-4"}', UpstreamError("File Not Found")),
        (b'{"model": "gpt-4", "file": "file_1"}', UpstreamError("Not Found")),
        (b'{"text": "see file_gone"}', UpstreamError("Route file_gone not found")),
    ],
)
def test_404_of_the_model_or_the_address_names_nothing_of_the_request(
    request_body: bytes, error: UpstreamError
) -> None:
    assert not names_part_of(request_body, error, "gpt-4")


@pytest.mark.parametrize(
    ("error", "ms"),
    [
        (UpstreamError("Please try again in 20s."), 20_000),
        (UpstreamError("Please try again in 1m26.4s."), 86_400),
        (UpstreamError("Please try again in 120ms."), 120),
        (UpstreamError("Rate limit reached. Please retry in 1.5s"), 1_500),
        (UpstreamError("Please try again later."), 0),
        (
            UpstreamError(
                "x", fields={"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}]}
            ),
            7_000,
        ),
        (UpstreamError("x", fields={"details": [{"retryDelay": "soon"}, 1]}), 0),
        (UpstreamError("x", fields={"details": "7s"}), 0),
    ],
)
def test_wait_is_read_from_the_words_and_details_of_an_error(error: UpstreamError, ms: int) -> None:
    assert try_again_ms(error) == ms
