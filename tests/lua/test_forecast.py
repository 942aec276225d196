"""The forecast: better than naive guesses, once a minute, small, and no more than a shift of weight."""

import itertools
from collections.abc import Sequence

import pytest

from shared_state.keys import Keys
from shared_state.scripts import Script
from tests.support.seasons import HOUR_MS, MINUTE_MS, VALID_MS, WEEK, Forecasting, Traffic, missing, recorded
from tests.support.state import Cluster, deployment_policy
from tests.support.stores import RedisCli

AHEAD_MS = 5 * MINUTE_MS
LEARNED = WEEK + 24 + 18 + 24  # hours: a week, a day, and to the middle of another
BREAKER = ("state", "generation", "open_until_ms", "trips", "limit", "adapted")


@pytest.fixture
def forecasting(cluster: Cluster) -> Forecasting:
    cluster.configure("a", forecast_ahead_ms=AHEAD_MS, forecast_cut=0.1)
    cluster.beat()
    return Forecasting(cluster)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def errors(forecasting: Forecasting, hours: Sequence[Traffic], gone: set[int], skip: int = 0) -> list[float]:
    """Mean absolute errors of the arrivals once two seasons are seen: of what was expected of each hour when it began,
    of `as in the last hour` and of `as in the same hour last week`, each from the last such hour that was seen.
    """
    found: list[tuple[float, float, float]] = []
    known: dict[int, float] = {}
    for hour in forecasting.hours({"a": hours}, gone):
        if hour in gone:
            continue
        came = hours[hour].arrivals
        if hour >= max(skip, 2 * WEEK) and hour - WEEK in known:
            said = float(forecasting.shown("a")["arrivals_expected"])
            found.append((abs(said - came), abs(known[max(known)] - came), abs(known[hour - WEEK] - came)))
        known[hour] = came
    return [mean(column) for column in zip(*found, strict=True)]


# -- how good it is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_it_beats_the_last_hour_and_the_same_hour_last_week(forecasting: Forecasting, seed: int) -> None:
    gone = missing(seed, 7 * WEEK)
    own, last_hour, last_week = errors(forecasting, recorded(seed), gone)

    assert len(gone) > 24
    assert own < 0.9 * last_hour
    assert own < 0.9 * last_week


def test_the_errors_it_shows_are_those_that_were_made(forecasting: Forecasting) -> None:
    hours = recorded(3)[: 3 * WEEK]
    forecasting.go_through({"a": hours})
    shown = forecasting.shown("a")
    came = [hour.arrivals for hour in hours]
    last = range(2 * WEEK - 1, 3 * WEEK - 1)  # the last hour is not over

    assert shown["arrivals_scored"] == str(WEEK)
    assert float(shown["arrivals_error_hour"]) == pytest.approx(
        mean([abs(came[k] - came[k - 1]) for k in last]), rel=0.1
    )
    assert float(shown["arrivals_error_week"]) == pytest.approx(
        mean([abs(came[k] - came[k - WEEK]) for k in last]), rel=0.1
    )
    assert float(shown["arrivals_error"]) < float(shown["arrivals_error_week"])


def test_a_clock_that_was_an_hour_off_for_a_day_is_forgotten(forecasting: Forecasting) -> None:
    hours, cluster = recorded(4), forecasting.cluster
    off = range(3 * WEEK, 3 * WEEK + 24)
    found: list[tuple[float, float]] = []
    forecasting.go_through({"a": hours[: off.start]})
    cluster.step_back(HOUR_MS)
    cluster.beat()
    forecasting.go_through({"a": hours[off.start : off.stop]})
    cluster.advance(HOUR_MS)
    for hour in forecasting.hours({"a": hours[off.stop :]}):
        k = off.stop + hour
        if hour >= WEEK:
            said = float(forecasting.shown("a")["arrivals_expected"])
            found.append((abs(said - hours[k].arrivals), abs(hours[k - WEEK].arrivals - hours[k].arrivals)))

    assert mean([own for own, _ in found]) < 0.9 * mean([naive for _, naive in found])


def test_a_clock_that_was_a_year_ahead_at_first_costs_no_year(forecasting: Forecasting) -> None:
    """As on a machine that has just been started."""
    cluster, year_ms = forecasting.cluster, 365 * 24 * HOUR_MS
    cluster.advance(year_ms)
    forecasting.go_through({"a": recorded(6)[:3]})
    cluster.beat()
    cluster.step_back(year_ms)
    cluster.beat()
    trusts = [float(forecasting.shown("a")["trust"]) for _ in forecasting.hours({"a": recorded(6)[: WEEK + 48]})]

    assert max(trusts) > 0.5


def test_a_week_of_silence_leaves_the_season(forecasting: Forecasting) -> None:
    hours = recorded(5)
    gone = set(range(3 * WEEK, 4 * WEEK))
    own, last_hour, _ = errors(forecasting, hours[: 6 * WEEK], gone, skip=4 * WEEK)

    assert own < 0.9 * last_hour


# -- the tick ---------------------------------------------------------------------------------------------------


def test_a_minute_counts_once_for_all_replicas(forecasting: Forecasting) -> None:
    assert [forecasting.tick() for _ in range(3)] == [1, 0, 0]

    forecasting.cluster.advance(MINUTE_MS)

    assert [forecasting.tick() for _ in range(2)] == [1, 0]
    assert forecasting.shown("a")["measured"] == "2"


def test_a_clock_that_is_set_back_brings_no_minute_twice(forecasting: Forecasting) -> None:
    forecasting.tick()
    forecasting.cluster.beat()
    forecasting.cluster.step_back(HOUR_MS)
    forecasting.cluster.beat()

    assert forecasting.tick() == 0
    forecasting.cluster.advance(MINUTE_MS)
    assert forecasting.tick() == 1


def test_what_an_open_breaker_keeps_away_is_not_learned(forecasting: Forecasting) -> None:
    cluster = forecasting.cluster
    forecasting.tick()
    cluster.force("a", "disable")
    cluster.advance(MINUTE_MS)
    forecasting.tick()
    cluster.force("a", "close")
    cluster.advance(MINUTE_MS // 2)
    forecasting.tick()

    assert forecasting.shown("a")["measured"] == "1"


def test_nothing_is_believed_before_a_week_and_a_day(forecasting: Forecasting) -> None:
    trusts = []
    for _ in forecasting.hours({"a": recorded(6)[: WEEK + 48]}):
        trusts.append(float(forecasting.shown("a")["trust"]))

    assert set(trusts[: WEEK + 24]) == {0.0}
    assert max(trusts[WEEK + 24 :]) > 0.5


def test_where_it_is_off_nothing_is_written(cluster: Cluster) -> None:
    cluster.configure("a")
    cluster.call("a")
    before = cluster.dump()

    assert Forecasting(cluster).tick() == 0
    assert cluster.dump() == before


def test_a_store_that_was_flushed_is_left_to_those_who_configure_it(forecasting: Forecasting) -> None:
    forecasting.cluster.flush()

    assert forecasting.tick() == 0


def test_one_deployment_costs_less_than_five_kilobytes(forecasting: Forecasting, cli: RedisCli) -> None:
    forecasting.go_through({"a": recorded(7)[: 2 * WEEK]})
    keys = forecasting.cluster.keys
    forecast, season = keys.forecast("a"), keys.season("a")

    assert cli.do("OBJECT", "ENCODING", forecast) == b"listpack"
    assert cli.do("OBJECT", "ENCODING", keys.deployment("a")) == b"listpack"
    assert cli.do("MEMORY", "USAGE", forecast) + cli.do("MEMORY", "USAGE", season) < 5000


def test_what_was_learned_of_a_deployment_that_is_gone_is_forgotten(forecasting: Forecasting) -> None:
    forecasting.go_through({"a": recorded(7)[:3]})
    keys, week_ms = forecasting.cluster.keys, WEEK * HOUR_MS

    for key in (keys.forecast("a"), keys.season("a")):
        assert 3 * week_ms < forecasting.cluster.cli.do("PTTL", key) <= 4 * week_ms


# -- what comes of it -------------------------------------------------------------------------------------------


def busy(arrivals: float, hours: int) -> list[Traffic]:
    """A quiet night before a busy day, over and over: the evening is at 0:00, 12 hours of each."""
    return [Traffic(arrivals if k % 24 >= 12 else arrivals / 4, 1000) for k in range(hours)]


@pytest.fixture(scope="module")
def learned(cli: RedisCli, scripts: dict[str, Script]) -> Forecasting:
    """Of equal size; `a` is nearly full by day, `b` hardly ever. It is the middle of a day."""
    forecasting = Forecasting(Cluster(cli, scripts))
    begin(forecasting.cluster)
    forecasting.go_through({"a": busy(540, LEARNED), "b": busy(120, LEARNED)})
    return forecasting


def begin(cluster: Cluster) -> None:
    policies = [deployment_policy(name, limit=10) for name in ("a", "b")]
    cluster.configure(*policies, forecast_ahead_ms=AHEAD_MS, forecast_cut=0.1)
    cluster.beat()


@pytest.fixture
def two(cluster: Cluster, learned: Forecasting) -> Forecasting:
    """A copy of what was learned, and the next minute of it."""
    forecasting, before = Forecasting(cluster), learned.cluster
    begin(cluster)
    for name in ("a", "b"):
        for key in (Keys.forecast, Keys.season):
            cluster.cli.do("RESTORE", key(cluster.keys, name), 0, cluster.cli.do("DUMP", key(before.keys, name)))
    cluster.set_clock(before.now_ms + MINUTE_MS)
    forecasting.minute({"a": Traffic(540, 1000), "b": Traffic(120, 1000)})
    for name in ("a", "b"):
        cluster.cli.do("HSET", cluster.keys.deployment(name), "active", 0)
    return forecasting


def test_what_will_be_nearly_full_gets_less(two: Forecasting) -> None:
    cluster = two.cluster
    share = {name: float(cluster.deployment(name)["forecast_share"]) for name in ("a", "b")}
    drawn = cluster.draws("a", "b", times=400)

    assert float(two.shown("a")["utilisation"]) == pytest.approx(0.9, abs=0.1)
    assert share["a"] < 0.5 < share["b"]
    assert drawn["b"] > 1.5 * drawn["a"] > 0


def test_a_tick_writes_of_a_deployment_its_share_and_nothing_else(two: Forecasting) -> None:
    cluster = two.cluster
    for name in ("a", "b"):
        live = ("health_score", "77.7", "adapted", "7", "ewma_ms", "123", "consecutive_failures", "4")
        cluster.cli.do("HSET", cluster.keys.deployment(name), *live)
    before = {name: cluster.deployment(name) for name in ("a", "b")}
    cluster.advance(MINUTE_MS)
    two.tick()
    after = {name: cluster.deployment(name) for name in ("a", "b")}

    for name in ("a", "b"):
        changed = {field for field, _ in before[name].items() ^ after[name].items()}
        assert "forecast_until_ms" in changed <= {"forecast_share", "forecast_until_ms"}
    assert cluster.events() == []


def test_no_breaker_moves_when_ten_times_what_can_be_carried_is_foreseen(cluster: Cluster) -> None:
    """Calls that are as ever, and the ticks of some minutes: nobody is refused, nothing but a share is there to see."""
    begin(cluster)
    forecasting, flood = Forecasting(cluster), Traffic(6000, 1000)
    forecasting.go_through({name: busy(6000, LEARNED) for name in ("a", "b")})
    assert float(forecasting.shown("a")["utilisation"]) > 9
    for _ in range(5):
        cluster.advance(MINUTE_MS)
        forecasting.minute({"a": flood, "b": flood})
        for name in ("a", "b"):
            cluster.cli.do("HSET", cluster.keys.deployment(name), "active", 0)
        cluster.call("a", times=5)
        cluster.call("b", times=5)

        for name in ("a", "b"):
            found = cluster.deployment(name)
            assert [found.get(field) for field in BREAKER] == ["closed", "0", None, None, "10", None]
            assert float(found["health_score"]) >= 98
            assert "forecast_share" in found
    assert cluster.events() == []


def test_an_old_forecast_is_no_longer_used(two: Forecasting) -> None:
    cluster = two.cluster
    cluster.advance(VALID_MS)
    drawn = cluster.draws("a", "b", times=400)

    assert drawn["a"] == pytest.approx(200, abs=50)


def test_unknown_deployment_is_not_preferred_for_being_unknown(two: Forecasting) -> None:
    cluster = two.cluster
    cluster.cli.do("HDEL", cluster.keys.deployment("b"), "forecast_share", "forecast_until_ms")

    assert cluster.draws("a", "b", times=400)["a"] == pytest.approx(200, abs=50)


@pytest.mark.parametrize(("idle", "region"), [((("spare", 1),), ""), (("far",), "eu")], ids=["fallback", "far away"])
def test_forecasts_are_heeded_though_one_whose_turn_it_is_not_has_none(
    two: Forecasting, idle: tuple[str | tuple[str, int], ...], region: str
) -> None:
    """A fallback that nobody needs has no calls to learn from."""
    cluster = two.cluster
    policies = [deployment_policy("spare"), deployment_policy("far", region="us")]
    cluster.configure(*policies, version=cluster.version, forecast_ahead_ms=AHEAD_MS, forecast_cut=0.1)
    drawn = cluster.draws("a", "b", *idle, times=400, region=region)

    assert set(drawn) == {"a", "b"}
    assert drawn["b"] > 1.5 * drawn["a"]


def test_a_minute_that_is_not_as_expected_ends_the_trust_at_once(two: Forecasting) -> None:
    two.cluster.advance(MINUTE_MS)
    two.minute({"a": Traffic(60, 1000), "b": Traffic(120, 1000)})

    assert two.shown("a")["trust"] == "0.000"
    assert "forecast_share" not in two.cluster.deployment("a")


def test_a_new_configuration_without_it_ends_it(two: Forecasting) -> None:
    cluster = two.cluster
    cluster.configure("a", "b")

    assert not any(field.startswith("forecast") for field in cluster.deployment("a"))
    assert cluster.draws("a", "b", times=400)["a"] == pytest.approx(200, abs=50)


@pytest.mark.parametrize(("forecast_cut", "is_let_in"), [(0.1, False), (0.0, True)])
def test_low_priorities_go_earlier_when_too_much_is_foreseen(
    cluster: Cluster, forecast_cut: float, is_let_in: bool
) -> None:
    cluster.configure("a", forecast_ahead_ms=AHEAD_MS, forecast_cut=forecast_cut, max_active=100)
    cluster.beat()
    forecasting = Forecasting(cluster)
    forecasting.go_through({"a": busy(6000, LEARNED)})
    for number in range(65):
        cluster.granted("a", priority=0, token=f"r1.plain.x{number}")

    assert (not cluster.explain("a", priority=100).shed_reason) == is_let_in
    assert not cluster.explain("a", priority=50).shed_reason


def test_what_is_foreseen_can_be_read(two: Forecasting) -> None:
    rows = two.foreseen("a", "b")

    assert [row is not None for row in rows] == [True, True]
    assert rows[0] is not None
    assert (rows[0].arrivals_seen, rows[0].trust > 0.5) == (LEARNED - 1, True)
    two.cluster.advance(VALID_MS + MINUTE_MS)
    assert two.foreseen("a", "b") == [None, None]


def test_largest_tick_is_bounded(cluster: Cluster, cli: RedisCli) -> None:
    """Twenty deployments are one call: the hour's end, which is the longest, stays under ten milliseconds."""
    cli.do("CONFIG", "SET", "slowlog-log-slower-than", 10_000)
    names = [f"d{k:02}" for k in range(20)]
    cluster.configure(*names, forecast_ahead_ms=AHEAD_MS)
    cluster.beat()
    forecasting = Forecasting(cluster)
    minutes = itertools.count()

    def hour_ends() -> bool:
        forecasting.minute({name: Traffic(600, 800) for name in names})
        for _ in range(11):
            cluster.advance(MINUTE_MS)
            forecasting.minute({name: Traffic(600 + next(minutes), 800) for name in names})
        cluster.advance(HOUR_MS)
        cli.do("SLOWLOG", "RESET")
        forecasting.minute({name: Traffic(600, 800) for name in names})
        return bool(cli.do("SLOWLOG", "LEN") == 0)

    assert any(hour_ends() for _ in range(5))
