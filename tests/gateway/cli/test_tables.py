"""Lines for a terminal: aligned, cut, coloured, and harmless."""

from gateway.cli.tables import (
    AutoscaleView,
    BudgetView,
    ClusterView,
    Line,
    ModelView,
    cluster,
    event_line,
    histogram,
    moment,
    reason_of,
    replicas,
)
from shared_state.snapshots import Bucket, DeploymentSnapshot, Event, ReplicaSnapshot


def texts(view: ClusterView) -> list[str]:
    return [line.text.rstrip() for line in cluster(view)]


def test_deployments_stand_in_columns_under_their_model() -> None:
    rows = (
        DeploymentSnapshot(id="a", health_score=100.0, active=3, limit=200, requests=12, p50_ms=90, p95_ms=1200),
        DeploymentSnapshot(id="long-name", state="open", open_reason="slow_rate", wait_ms=2000),
    )
    lines = texts(ClusterView(deployments=rows, models=(ModelView("gpt-4", ("a", "long-name")),)))

    assert lines[3:6] == [
        "MODEL  DEPLOYMENT  STATE   HEALTH  ACTIVE  CALLS  FAILED  SLOW   P50   P95  P99  WHY",
        "gpt-4  a           closed     100   3/200     12       0     0  90ms  1.2s    -",
        "gpt-4  long-name   open         0     0/0      0       0     0     -     -    -  slow_rate, probes in 2s",
    ]


def test_shedding_and_problems_are_shown() -> None:
    view = ClusterView(
        requests=200, failures=3, active=7, healthy_ratio=0.25, shed_reasons=("healthy_ratio",), problem="x"
    )

    assert texts(view)[:3] == [
        "200 requests in the last minute, 1.5% failed   7 active   25% healthy",
        "shedding healthy_ratio   state store shared",
        "x",
    ]


def test_errors_of_the_last_minutes_are_shown_newest_first() -> None:
    rows = (
        DeploymentSnapshot(id="old", last_error="long ago", last_error_at_ms=1_000_000 - 300_001),
        DeploymentSnapshot(id="a", last_error="connection refused", last_error_at_ms=1_000_000 - 300_000),
        DeploymentSnapshot(id="never"),
        DeploymentSnapshot(id="long-name", last_error="401 invalid_api_key", last_error_at_ms=1_000_000 - 3_200),
    )
    lines = texts(ClusterView(at_ms=1_000_000, deployments=rows))

    assert lines[9:12] == [
        "DEPLOYMENT      WHEN  LAST ERROR",
        "long-name   3.2s ago  401 invalid_api_key",
        "a           300s ago  connection refused",
    ]


def test_without_errors_there_is_no_table_of_them() -> None:
    assert not [text for text in texts(ClusterView(deployments=(DeploymentSnapshot(id="a"),))) if "LAST ERROR" in text]


def test_missing_endpoint_is_shown_whatever_the_breaker() -> None:
    lacking = DeploymentSnapshot(id="a", unsupported=("embeddings", "responses"))
    opened = DeploymentSnapshot(id="a", state="open", open_reason="slow_rate", unsupported=("chat",))

    assert reason_of(lacking) == "no endpoint for embeddings, responses"
    assert reason_of(opened) == "slow_rate, no endpoint for chat"


def test_event_of_a_breaker_shows_what_opened_it() -> None:
    line = event_line(Event("1-0", "a", "closed", "open", "consecutive_failures", 1, 1, 0, "name not found\n\x1b[2J"))

    assert line.endswith("a  closed > open  consecutive_failures: name not found??[2J")


def test_newest_events_come_first_up_to_the_requested_number() -> None:
    events = tuple(Event(id=f"{n}-0", subject=f"d{n}") for n in (9, 10, 11))
    shown = [line.text for line in cluster(ClusterView(events=events), 2)][-2:]

    assert ["d11" in shown[0], "d10" in shown[1]] == [True, True]


def test_control_characters_of_others_are_not_obeyed() -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\n\x9b1m"
    view = ClusterView(
        deployments=(DeploymentSnapshot(id=evil, state="forced_open", open_reason=evil, last_error=evil),),
        replicas=(ReplicaSnapshot(evil, 0, evil, evil),),
        events=(Event(id="1-0", subject=evil, reason=evil, error=evil),),
        problem=evil,
    )

    assert [line for line in cluster(view) if not line.text.isprintable()] == []


def test_line_is_cut_before_it_is_coloured() -> None:
    line = Line("abcdef", "31")

    assert line.fit(3, True) == "\x1b[31mabc\x1b[0m"
    assert line.fit(3, False) == "abc"
    assert Line("   ", "31").fit(3, True) == ""


def test_silent_replica_is_seen() -> None:
    lines = [
        line.text.split() for line in replicas([ReplicaSnapshot("r1", 6000, "h:1", "1"), ReplicaSnapshot("r2", 900)])
    ]

    assert (lines[1][3], "serving" in lines[2]) == ("silent", True)


def test_replica_whose_file_is_not_in_force_stands_out() -> None:
    _, line = replicas([ReplicaSnapshot("r1", 900, is_behind=True)])

    assert ("serving, behind" in line.text, line.colour) == (True, "31")


def test_reason_shows_how_long_it_lasts() -> None:
    assert reason_of(DeploymentSnapshot(id="a", state="forced_open", open_reason="open by ann", wait_ms=60_000)) == (
        "open by ann, for 60s more"
    )
    assert reason_of(DeploymentSnapshot(id="a", open_reason="old")) == ""


def test_bars_are_as_long_as_they_are_heavy() -> None:
    bars = [line.count("#") for line in histogram([Bucket(100, 10), Bucket(200, 5), Bucket(400, 0.01)])]

    assert bars == [40, 20, 1]
    assert histogram([]) == []


def test_configuration_is_shown_in_a_word() -> None:
    assert event_line(Event(id="1-0", subject="a", before="0", to="17", reason="configured", at_ms=0)).endswith(
        "a  configured"
    )


def test_invalid_time_is_not_shown() -> None:
    assert moment(1e30) == "?"


def test_money_places_and_wanted_replicas_are_shown_where_there_are_any() -> None:
    rows = (DeploymentSnapshot(id="a", region="eu", rtt_ms=12.4), DeploymentSnapshot(id="b"))
    budgets = (
        BudgetView("domain", 1000, "month", 2.5, 0.5, 997, 90_061),
        BudgetView("tenant:x", 1, "total", 1, 0, 0),
    )
    view = ClusterView(
        deployments=rows, budgets=budgets, budgets_in_all=5, region="eu", autoscale=AutoscaleView(3, "much to do")
    )
    lines = texts(view)

    assert lines[1:3] == ["shedding nothing   state store shared   region eu", "replicas desired 3: much to do"]
    assert [line.split()[-2:] for line in lines[5:7]] == [["eu", "12ms"], ["-", "-"]]
    assert lines[-4:] == [
        "BUDGET         AMOUNT     SPENT  RESERVED        LEFT  PER          TURNS IN",
        "domain    1000.000000  2.500000  0.500000  997.000000  month  1 day, 1:01:01",
        "tenant:x     1.000000  1.000000  0.000000    0.000000  total               -",
        "and 3 more",
    ]
    assert "replicas desired -: not known now" in texts(ClusterView(autoscale=AutoscaleView(0, "not known now")))
