"""The client's error when no deployment of its model can take the request: it follows from the verdicts alone."""

import pytest

from gateway.configuration.settings import DeploymentSettings
from gateway.errors import EndpointNotSupported, GatewayError
from gateway.http.error_bodies import headers_of
from gateway.routing.catalog import Candidate
from gateway.routing.final_errors import Tried, failed, rejected
from shared_state.records import Outcome, Rejection

CANDIDATES = tuple(Candidate(DeploymentSettings(id=name, model_name="m"), 0) for name in ("a", "b", "c"))


def error_of(*verdicts: str, retry_after_ms: int = 7_000) -> GatewayError:
    rejection = Rejection("none", "none", retry_after_ms, 1, verdicts)
    return rejected(rejection, CANDIDATES[: len(verdicts)], ())


@pytest.mark.parametrize(
    "verdicts",
    [
        ("cooling",),
        ("rate_limited",),
        ("cooling", "rate_limited", "cooling"),
        ("unsupported", "cooling"),
        ("rate_limited", "unsupported", "unsupported"),
    ],
)
def test_where_all_that_have_the_endpoint_are_limited_it_is_429_with_the_earliest_time(
    verdicts: tuple[str, ...],
) -> None:
    error = error_of(*verdicts)

    assert (error.status, error.type, error.code) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert dict(headers_of(error))[b"retry-after-ms"] == b"7000"


@pytest.mark.parametrize("verdicts", [("open",), ("cooling", "open"), ("unsupported", "probing"), ("disabled",)])
def test_any_other_verdict_makes_it_503(verdicts: tuple[str, ...]) -> None:
    error = error_of(*verdicts)

    assert (error.status, error.code, error.retry_after_ms) == (503, "no_healthy_deployment", 7_000)


@pytest.mark.parametrize("verdicts", [("full", "cooling"), ("unsupported", "behind"), ("full", "open")])
def test_full_deployment_makes_the_error_overloaded(verdicts: tuple[str, ...]) -> None:
    error = error_of(*verdicts)

    assert (error.status, error.code) == (503, "server_is_overloaded")


def test_where_no_deployment_has_the_endpoint_it_is_404_without_a_time_to_come_back() -> None:
    error = error_of("unsupported", "unsupported")

    assert isinstance(error, EndpointNotSupported)
    assert (error.status, error.type, error.code) == (404, "invalid_request_error", "endpoint_not_supported")
    assert not [name for name, _ in headers_of(error) if name.startswith(b"retry-after")]


def test_retry_after_is_that_of_the_deployment_that_recovers_first() -> None:
    waits = (30_000, 3_000, 60_000)
    tried = [Tried(each, Outcome.THROTTLED, wait, 429) for each, wait in zip(CANDIDATES, waits, strict=True)]

    assert failed(tried).retry_after_ms == 3_000


def test_another_candidates_error_counts_more_than_a_missing_endpoint() -> None:
    missing = EndpointNotSupported("no")
    tried = [Tried(CANDIDATES[0], Outcome.UNSUPPORTED, error=missing), Tried(CANDIDATES[1], Outcome.OVERLOADED)]

    assert "overloaded" in failed(tried).message
    assert failed(tried[:1]) is missing
