"""Http11Probe's and h1spec's cases against a real replica: what it answers, and that nothing is smuggled."""

import re

import pytest

from tests.gateway.http.http_suite import Case, is_wanted, verdict
from tests.gateway.http.http_suite_h1spec import H1SPEC
from tests.gateway.http.http_suite_heads import HEADS
from tests.gateway.http.http_suite_smuggling import SMUGGLING
from tests.support.cluster import Cluster, ReplicaProcess
from tests.support.raw_provider import RawProvider

HTTP11PROBE = (*HEADS, *SMUGGLING)
CASES = (*HTTP11PROBE, *H1SPEC)


def test_every_case_is_there_once() -> None:
    names = [case.name for case in CASES]

    assert len(set(names)) == len(names)
    assert (len(HTTP11PROBE), len(H1SPEC)) == (215, 33)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(gateway_cluster: Cluster, raw_provider_thread: RawProvider, case: Case) -> None:
    seen = verdict(gateway_cluster.replicas[0].address, raw_provider_thread, case)

    assert seen == (case.answers, case.is_closed, case.calls)
    assert is_wanted(case, seen) is not bool(case.why)


def test_no_case_leaves_a_lease_or_a_traceback(gateway_cluster: Cluster) -> None:
    gateway_cluster.check()


def test_headers_of_answers(replica: ReplicaProcess) -> None:
    """COMP-DATE-FORMAT, COMP-405-ALLOW, COMP-OPTIONS-ALLOW, COMP-NO-CL-IN-204 and COMP-CONTENT-TYPE."""
    got, refused, options = (replica.request(method, "/livez") for method in ("GET", "DELETE", "OPTIONS"))

    assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", got.headers["date"])
    assert got.headers["content-type"].startswith("text/plain")
    assert (refused.status, set(refused.headers["allow"].split(", "))) == (405, {"GET", "HEAD", "OPTIONS"})
    assert (options.status, options.body) == (204, b"")
    assert set(options.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert "content-length" not in options.headers
