"""`x-should-retry`: each row of both tables in docs/judgement.md."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.configuration.settings import DeploymentSettings
from gateway.endpoints.error_forms import error_status
from gateway.errors import (
    ConfigurationRefused,
    Conflict,
    GatewayError,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    UpstreamFailed,
    UpstreamRefused,
)
from gateway.http.error_bodies import WAIT_MOST_MS, headers_of
from gateway.request.calls import Kind
from gateway.routing.catalog import Candidate
from gateway.routing.final_errors import Tried, failed, rejected, tried_with
from gateway.upstream.classify import judge
from gateway.upstream.exchange import Exchange
from gateway.upstream.upstream_errors import UpstreamError
from shared_state.records import Rejection
from tests.loadtest.process import ProviderProcess
from tests.support.cluster import ReplicaProcess
from tests.support.raw_provider import RawProvider, plain

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/judgement.md").read_text().split("## When a client should retry\n")[1]
THE_SAME = "the provider's"
RETRIED = (408, 409, 429)  # by official SDKs, with every status from 500 on
ELSEWHERE = (UpstreamFailed, UpstreamRefused, QuotaExhausted)  # after calls of providers
ADMINISTRATIVE = (Conflict, ConfigurationRefused)


def rows(heading: str) -> list[list[str]]:
    """The cells of a table without its head."""
    lines = TEXT.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def candidate(name: str) -> Candidate:
    return Candidate(DeploymentSettings(id=name, model_name="m"), 0)


def answered(text: str, name: str) -> Tried:
    """``text``: a status, its code, and its words, as the table has them."""
    match = re.fullmatch(r"(\d{3})(?: `(\w+)`(?: (.+))?)?", text)
    assert match, text
    error = UpstreamError(match[3] or "", code=match[2]) if match[2] else None
    exchange = Exchange(judge(int(match[1]), error), status=int(match[1]))
    exchange.error = error
    return tried_with(candidate(name), exchange)


def after_calls() -> Iterator[tuple[str, str, str, str]]:
    for providers, status, code, header in rows("providers answered"):
        for answers in providers.split("; "):
            yield answers, status, code, header


def should_retry(error: GatewayError) -> str:
    return dict(headers_of(error)).get(b"x-should-retry", b"").decode()


def test_documentation_has_its_tables() -> None:
    assert len(list(after_calls())) > 45
    assert len(rows("status | code | why")) >= 10


@pytest.mark.parametrize(("answers", "status", "code", "header"), list(after_calls()))
def test_header_after_calls_agrees_with_the_documentation(answers: str, status: str, code: str, header: str) -> None:
    tried = [answered(text, f"d{number}") for number, text in enumerate(answers.split(" + "))]
    error = failed(tried, has_tried_all=True)
    statuses = [str(error_status(kind, error)) for kind in (Kind.CHAT, Kind.MESSAGE)]

    if status == THE_SAME:
        assert (statuses[0], code) == (answers[:3], THE_SAME)
    else:
        assert (list(dict.fromkeys(statuses)), error.code) == (re.findall(r"\d{3}", status), code)
    assert should_retry(error) == header


@pytest.mark.parametrize(("answers", "status", "code", "header"), list(after_calls()))
def test_candidate_that_was_not_called_is_worth_a_retry(answers: str, status: str, code: str, header: str) -> None:
    tried = [answered(text, f"d{number}") for number, text in enumerate(answers.split(" + "))]
    rejection = Rejection("none", "none", 7_000, 1, ("open",))

    assert should_retry(failed(tried)) == ""
    assert should_retry(rejected(rejection, [candidate("open")], tried)) == ""


def own_errors() -> dict[tuple[int, str], type[GatewayError]]:
    """Those that a client gets without a call of a provider and that official SDKs would retry, and all that have the
    header.
    """
    found: dict[tuple[int, str], type[GatewayError]] = {}
    classes: list[type[GatewayError]] = [GatewayError]
    while classes:
        one = classes.pop()
        classes += one.__subclasses__()
        is_retried = one.is_in_vain or one.status in RETRIED or one.status >= 500
        if one.code and is_retried and not issubclass(one, ELSEWHERE) and one not in ADMINISTRATIVE:
            found[one.status, one.code] = one
    return found


def test_header_without_a_call_agrees_with_the_documentation() -> None:
    documented = {(int(status), code): header for status, code, _why, header in rows("status | code | why")}
    own = own_errors()
    made = {key: Overloaded("x", "full") if kind is Overloaded else kind("x") for key, kind in own.items()}

    assert documented == {key: should_retry(error) for key, error in made.items()}


@pytest.mark.parametrize(("wait_ms", "header"), [(60_000, ""), (60_001, "false")])
def test_longest_wait_agrees_with_the_documentation(wait_ms: int, header: str) -> None:
    assert f"`retry-after` is longer than {WAIT_MOST_MS // 1000} s" in TEXT
    assert should_retry(RateLimited("Later.", retry_after_ms=wait_ms)) == header


# -- through the gateway ----------------------------------------------------------------------------------------

TOO_LONG = plain(json.dumps({"error": {"code": "context_length_exceeded"}}).encode(), "500 Internal Server Error")


@pytest.mark.parametrize(("model", "header"), [("raw", "false"), ("raw-first", None)])
def test_refusal_is_worth_a_retry_while_a_fallback_is_left(
    replica: ReplicaProcess, raw_provider: RawProvider, model: str, header: str | None
) -> None:
    raw_provider.answer = TOO_LONG
    answer = replica.chat(model)

    assert (answer.status, answer.headers.get("x-should-retry")) == (500, header)
    assert len(raw_provider.requests) == 1


@pytest.mark.parametrize(("model", "header"), [("raw-twice", "false"), ("raw-brief", None)])
def test_refusal_is_worth_a_retry_while_its_chain_has_one_left(
    replica: ReplicaProcess, raw_provider: RawProvider, spare: ProviderProcess, model: str, header: str | None
) -> None:
    """Two models in the chain, and three, of which `max_attempts` leaves one out."""
    raw_provider.answer = TOO_LONG
    spare.behave(error_rate=1, error_status=401)
    answer = replica.chat(model)

    assert (answer.status, answer.headers["x-pllm-attempts"]) == (500, "3")
    assert answer.headers.get("x-should-retry") == header


def test_refusal_is_worth_a_retry_while_the_last_of_its_chain_is_open(
    replica: ReplicaProcess, raw_provider: RawProvider
) -> None:
    raw_provider.answer = TOO_LONG
    replica.force("spare", "open")
    answer = replica.chat("raw-twice")

    assert (answer.status, answer.headers["x-pllm-attempts"]) == (500, "2")
    assert "x-should-retry" not in answer.headers
