"""How many cases of Http11Probe and h1spec our server holds: `python -m tests.http_suites` prints the tables of
docs/http-suites.md.
"""

import sys
from http.client import HTTPException

from tests.gateway.http.http_suite import Case, Verdict, is_wanted, verdict
from tests.gateway.http.http_suite_h1spec import H1SPEC
from tests.gateway.http.http_suite_heads import HEADS
from tests.gateway.http.http_suite_smuggling import SMUGGLING
from tests.support.cluster import deployment, running_cluster, running_store
from tests.support.raw_provider import RawProvider, running_raw_provider
from tests.support.wire import Address

SUITES = {"Http11Probe: heads, methods, cookies": HEADS, "Http11Probe: bodies": SMUGGLING, "h1spec": H1SPEC}


def main() -> None:
    with running_store() as store, running_raw_provider() as raw:
        models = [deployment("raw", raw.url, "raw", provider_fields={"model": "raw"})]
        with running_cluster(store, [], models, replicas=1, domain="suites") as cluster:
            address = cluster.replicas[0].address
            seen = {suite: [_seen(address, raw, case) for case in cases] for suite, cases in SUITES.items()}
    sys.stdout.write("\n".join(_lines(seen)) + "\n")


def _seen(address: Address, raw: RawProvider, case: Case) -> Verdict | None:
    try:
        return verdict(address, raw, case)
    except (AssertionError, OSError, HTTPException):
        return None


def _lines(seen: dict[str, list[Verdict | None]]) -> list[str]:
    counts, others = [], []
    for suite, cases in SUITES.items():
        missed = [
            (case, each)
            for case, each in zip(cases, seen[suite], strict=True)
            if each is None or not is_wanted(case, each)
        ]
        counts.append(f"| {suite} | {len(cases)} | {len(cases) - len(missed)} |")
        others += [_line(case, each) for case, each in missed]
    return [
        "| suite | cases tried | held |",
        "|---|---:|---:|",
        *counts,
        "",
        "| case | RFC 9112, section | preferred | ours | why |",
        "|---|---|---|---|---|",
        *others,
    ]


def _line(case: Case, seen: Verdict | None) -> str:
    ours = ", ".join(map(str, seen.answers)) + (", close" if seen.is_closed else "") if seen else "no verdict"
    return f"| {case.name} | {case.section} | {case.wanted.replace('|', ' or ')} | {ours} | {case.why} |"


if __name__ == "__main__":
    main()
