"""The cluster as lines of text, for terminals. What comes from outside (names, reasons) is shown without its control
characters: a terminal would obey them.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from gateway.views.model_stats import duration
from shared_state.snapshots import Bucket, DeploymentSnapshot, Event, ReplicaSnapshot

SILENT_MS = 5000  # after this a replica is taken for dead
RECENT_MS = 300_000  # errors of the last few minutes are worth a line
BAR_WIDTH = 40
_PLAIN, _DIM, _RED, _YELLOW, _GREEN, _BOLD = "", "2", "31", "33", "32", "1"
_COLOURS = {"closed": _GREEN, "half_open": _YELLOW, "open": _RED, "forced_open": _RED, "disabled": _DIM}


class ModelView(msgspec.Struct, frozen=True):
    name: str
    deployments: tuple[str, ...]


class BudgetView(msgspec.Struct, frozen=True):
    """In the currency of the prices. ``turns_in_s``: None where its period never ends, or has not begun."""

    scope: str
    amount: float = 0.0
    per: str = ""
    spent: float = 0.0
    reserved: float = 0.0
    left: float = 0.0
    turns_in_s: float | None = None


class AutoscaleView(msgspec.Struct, frozen=True):
    """``desired_replicas`` 0: not known now."""

    desired_replicas: int
    why: str = ""


class ClusterView(msgspec.Struct, frozen=True, kw_only=True):
    """The state at one moment, from the admin API or from the store itself. Without models: one list. ``at_ms``: the
    store's time.
    """

    at_ms: int = 0
    active: int = 0
    requests: int = 0
    failures: int = 0
    healthy_ratio: float = 1.0
    shed_reasons: tuple[str, ...] = ()
    state: str = "shared"
    problem: str = ""
    deployments: tuple[DeploymentSnapshot, ...] = ()
    replicas: tuple[ReplicaSnapshot, ...] = ()
    events: tuple[Event, ...] = ()
    models: tuple[ModelView, ...] = ()
    region: str = ""
    budgets: tuple[BudgetView, ...] = ()
    budgets_in_all: int = 0
    autoscale: AutoscaleView | None = None


class Line(msgspec.Struct, frozen=True):
    """``colour``: an ANSI code, or empty."""

    text: str
    colour: str = _PLAIN

    def fit(self, width: int, is_coloured: bool) -> str:
        text = self.text[:width].rstrip()
        return f"\x1b[{self.colour}m{text}\x1b[0m" if is_coloured and self.colour and text else text


def clean(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def cluster(view: ClusterView, events_most: int = 10) -> list[Line]:
    share = view.failures / view.requests if view.requests else 0
    shedding = ", ".join(view.shed_reasons) or "nothing"
    lines = [
        Line(
            f"{view.requests} requests in the last minute, {share:.1%} failed   {view.active} active   "
            f"{view.healthy_ratio:.0%} healthy",
            _BOLD,
        ),
        Line(
            f"shedding {shedding}   state store {view.state}"
            + clean(f"   region {view.region}" if view.region else ""),
            _RED if view.shed_reasons else _PLAIN,
        ),
    ]
    if view.autoscale:
        lines.append(Line(clean(f"replicas desired {view.autoscale.desired_replicas or '-'}: {view.autoscale.why}")))
    if view.problem:
        lines.append(Line(clean(view.problem), _RED))
    lines += [Line(""), *deployments(view)]
    if found := errors(view):
        lines += [Line(""), *found]
    lines += [Line(""), *replicas(view.replicas)]
    if view.budgets:
        lines += [Line(""), *budgets(view)]
    if view.events:
        newest = sorted(view.events, key=lambda each: [int(part) for part in each.id.split("-")])[-events_most:]
        lines += [Line(""), *(Line(event_line(each)) for each in reversed(newest))]
    return lines


def deployments(view: ClusterView) -> list[Line]:
    names = {name: model.name for model in view.models for name in model.deployments}
    head: tuple[str, ...] = (
        "MODEL",
        "DEPLOYMENT",
        "STATE",
        "HEALTH",
        "ACTIVE",
        "CALLS",
        "FAILED",
        "SLOW",
        "P50",
        "P95",
        "P99",
        "WHY",
    )
    rows: list[tuple[str, ...]] = []
    colours = []
    for each in view.deployments:
        calls = (str(each.requests), str(each.failures), str(each.slow))
        latencies = (duration(ms) if ms else "-" for ms in (each.p50_ms, each.p95_ms, each.p99_ms))
        load, health = f"{each.active}/{each.limit}", f"{each.health_score:.0f}"
        rows.append((names.get(each.id, ""), each.id, each.state, health, load, *calls, *latencies, reason_of(each)))
        colours.append(_COLOURS.get(each.state, _PLAIN))
    if not names:
        head, rows = head[1:], [row[1:] for row in rows]
    left = len(head) - 9
    if any(each.region for each in view.deployments):
        head = (*head[:-1], "REGION", "RTT", head[-1])
        rows = [(*row[:-1], *_place(each), row[-1]) for row, each in zip(rows, view.deployments, strict=True)]
    return _table(head, rows, colours, {*range(left), len(head) - 1})


def _place(each: DeploymentSnapshot) -> tuple[str, str]:
    """Its region, and how far that is from the one of who looks."""
    return each.region or "-", "-" if each.rtt_ms is None else duration(each.rtt_ms)


def errors(view: ClusterView) -> list[Line]:
    """Why calls of the last few minutes failed: one line per deployment, the newest first."""
    found = [each for each in view.deployments if each.last_error and view.at_ms - each.last_error_at_ms <= RECENT_MS]
    if not found:
        return []
    found.sort(key=lambda each: each.last_error_at_ms, reverse=True)
    ages = (duration(max(0, view.at_ms - each.last_error_at_ms)) for each in found)
    rows = [(each.id, f"{age} ago", each.last_error) for each, age in zip(found, ages, strict=True)]
    return _table(("DEPLOYMENT", "WHEN", "LAST ERROR"), rows, [_PLAIN] * len(rows), {0, 2})


def reason_of(each: DeploymentSnapshot) -> str:
    return ", ".join(filter(None, (_breaker_reason(each), _missing(each))))


def _missing(each: DeploymentSnapshot) -> str:
    return f"no endpoint for {', '.join(each.unsupported)}" if each.unsupported else ""


def _breaker_reason(each: DeploymentSnapshot) -> str:
    if each.state == "open":
        return f"{each.open_reason}, probes in {duration(each.wait_ms)}" if each.wait_ms else each.open_reason
    if each.state == "forced_open" and each.wait_ms:
        return f"{each.open_reason}, for {duration(each.wait_ms)} more"
    return "" if each.state in ("closed", "half_open") else each.open_reason


def replicas(found: Sequence[ReplicaSnapshot]) -> list[Line]:
    rows, colours = [], []
    for each in found:
        is_silent = each.silent_ms > SILENT_MS
        status = "silent" if is_silent else "draining" if each.is_draining else "serving"
        status += ", behind" if each.is_behind else ""
        up, beat = duration(each.age_ms), f"{duration(each.silent_ms)} ago"
        rows.append((each.id, each.address, each.version, status, each.store, up, beat))
        colours.append(_RED if is_silent or each.is_behind or each.store == "standby" else _PLAIN)
    return _table(("REPLICA", "ADDRESS", "VERSION", "STATUS", "STORE", "UP", "HEARTBEAT"), rows, colours, set(range(5)))


def budgets(view: ClusterView) -> list[Line]:
    """Those that are nearest to their end."""
    rows, colours = [], []
    for each in view.budgets:
        money = (f"{value:.6f}" for value in (each.amount, each.spent, each.reserved, each.left))
        turns = "-" if each.turns_in_s is None else str(timedelta(seconds=round(each.turns_in_s)))
        rows.append((each.scope, *money, each.per, turns))
        colours.append(_PLAIN if each.left else _RED)
    lines = _table(("BUDGET", "AMOUNT", "SPENT", "RESERVED", "LEFT", "PER", "TURNS IN"), rows, colours, {0, 5})
    more = view.budgets_in_all - len(view.budgets)
    return [*lines, Line(f"and {more} more")] if more > 0 else lines


def event_line(each: Event) -> str:
    at = moment(each.at_ms)
    if each.reason == "configured":  # from one version to the next
        return clean(f"{at}  {each.subject}  configured")
    why = f"{each.reason}: {each.error}" if each.error else each.reason
    return clean(f"{at}  {each.subject}  {each.before or '-'} > {each.to or '-'}  {why}")


def moment(at_ms: float) -> str:
    """By this machine's clock and zone."""
    try:
        return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"


def histogram(buckets: Sequence[Bucket]) -> list[str]:
    """One line each, its bar as long as it is heavy."""
    most = max((bucket.count for bucket in buckets), default=0)
    lines = []
    for bucket in buckets:
        bar = "#" * max(1, round(BAR_WIDTH * bucket.count / most))
        lines.append(f"  up to {duration(bucket.up_to_ms):>7}  {bar:<{BAR_WIDTH}}  {bucket.count:g}")
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], colours: Iterable[str], left: set[int]) -> list[Line]:
    """``left``: the columns that are aligned to the left."""
    cleaned = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cleaned, strict=True)]

    def row(cells: Sequence[str]) -> str:
        pairs = enumerate(zip(cells, widths, strict=True))
        return "  ".join(cell.ljust(width) if k in left else cell.rjust(width) for k, (cell, width) in pairs)

    body = (Line(row(cells), colour) for cells, colour in zip(cleaned, colours, strict=True))
    return [Line(row(head), _DIM), *body]
