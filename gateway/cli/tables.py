"""Shows the cluster as lines of text, for terminals. Names and reasons from outside are shown without their control
characters, which a terminal would obey.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from gateway.views.model_stats import duration
from shared_state.snapshots import Bucket, DeploymentSnapshot, Event, ReplicaSnapshot

SILENT_MS = 5000  # after this time a replica counts as dead
RECENT_MS = 300_000  # errors of the last few minutes are worth a line
BAR_WIDTH = 40
_PLAIN, _DIM, _RED, _YELLOW, _GREEN, _BOLD = "", "2", "31", "33", "32", "1"
_COLOURS = {"closed": _GREEN, "half_open": _YELLOW, "open": _RED, "forced_open": _RED, "disabled": _DIM}


class ModelView(msgspec.Struct, frozen=True):
    """A model and the ids of its deployments."""

    name: str
    deployments: tuple[str, ...]


class BudgetView(msgspec.Struct, frozen=True):
    """A budget, in the currency of the prices."""

    scope: str
    amount: float = 0.0
    per: str = ""
    spent: float = 0.0
    reserved: float = 0.0
    left: float = 0.0
    turns_in_s: float | None = None  # None: its period never ends, or has not begun


class AutoscaleView(msgspec.Struct, frozen=True):
    """The number of replicas that the cluster should have, and the reason."""

    desired_replicas: int  # 0: not known now
    why: str = ""


class ClusterView(msgspec.Struct, frozen=True, kw_only=True):
    """The state at one moment, from the admin API or from the store."""

    at_ms: int = 0  # by the store's clock
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
    models: tuple[ModelView, ...] = ()  # empty: deployments are listed without a model
    region: str = ""
    budgets: tuple[BudgetView, ...] = ()
    budgets_in_all: int = 0
    autoscale: AutoscaleView | None = None


class Line(msgspec.Struct, frozen=True):
    """One line of a table."""

    text: str
    colour: str = _PLAIN  # an ANSI code, or empty

    def fit(self, width: int, is_coloured: bool) -> str:
        text = self.text[:width].rstrip()
        return f"\x1b[{self.colour}m{text}\x1b[0m" if is_coloured and self.colour and text else text


def clean(text: str) -> str:
    """Replaces characters that cannot be printed."""
    return "".join(character if character.isprintable() else "?" for character in text)


def cluster(view: ClusterView, events_most: int = 10) -> list[Line]:
    """Returns the whole view, with its newest ``events_most`` events."""
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
    if failing := errors(view):
        lines += [Line(""), *failing]
    lines += [Line(""), *replicas(view.replicas)]
    if view.budgets:
        lines += [Line(""), *budgets(view)]
    if view.events:
        newest = sorted(view.events, key=lambda event: [int(part) for part in event.id.split("-")])[-events_most:]
        lines += [Line(""), *(Line(event_line(event)) for event in reversed(newest))]
    return lines


def deployments(view: ClusterView) -> list[Line]:
    """Returns a table of the deployments, with their models if they are known."""
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
    for deployment in view.deployments:
        calls = (str(deployment.requests), str(deployment.failures), str(deployment.slow))
        latencies = (duration(ms) if ms else "-" for ms in (deployment.p50_ms, deployment.p95_ms, deployment.p99_ms))
        load, health = f"{deployment.active}/{deployment.limit}", f"{deployment.health_score:.0f}"
        which = (names.get(deployment.id, ""), deployment.id, deployment.state)
        rows.append((*which, health, load, *calls, *latencies, reason_of(deployment)))
        colours.append(_COLOURS.get(deployment.state, _PLAIN))
    if not names:
        head, rows = head[1:], [row[1:] for row in rows]
    left = len(head) - 9
    if any(deployment.region for deployment in view.deployments):
        head = (*head[:-1], "REGION", "RTT", head[-1])
        rows = [
            (*row[:-1], *_place(deployment), row[-1]) for row, deployment in zip(rows, view.deployments, strict=True)
        ]
    return _table(head, rows, colours, {*range(left), len(head) - 1})


def _place(deployment: DeploymentSnapshot) -> tuple[str, str]:
    """Returns the deployment's region, and the round trip to it from the reporting replica."""
    return deployment.region or "-", "-" if deployment.rtt_ms is None else duration(deployment.rtt_ms)


def errors(view: ClusterView) -> list[Line]:
    """Returns why calls of the last few minutes failed: one line per deployment, the newest first."""
    failing = [
        deployment
        for deployment in view.deployments
        if deployment.last_error and view.at_ms - deployment.last_error_at_ms <= RECENT_MS
    ]
    if not failing:
        return []
    failing.sort(key=lambda deployment: deployment.last_error_at_ms, reverse=True)
    ages = (duration(max(0, view.at_ms - deployment.last_error_at_ms)) for deployment in failing)
    rows = [(deployment.id, f"{age} ago", deployment.last_error) for deployment, age in zip(failing, ages, strict=True)]
    return _table(("DEPLOYMENT", "WHEN", "LAST ERROR"), rows, [_PLAIN] * len(rows), {0, 2})


def reason_of(deployment: DeploymentSnapshot) -> str:
    return ", ".join(filter(None, (_breaker_reason(deployment), _missing(deployment))))


def _missing(deployment: DeploymentSnapshot) -> str:
    return f"no endpoint for {', '.join(deployment.unsupported)}" if deployment.unsupported else ""


def _breaker_reason(deployment: DeploymentSnapshot) -> str:
    if deployment.state == "open":
        probes = f", probes in {duration(deployment.wait_ms)}" if deployment.wait_ms else ""
        return deployment.open_reason + probes
    if deployment.state == "forced_open" and deployment.wait_ms:
        return f"{deployment.open_reason}, for {duration(deployment.wait_ms)} more"
    return "" if deployment.state in ("closed", "half_open") else deployment.open_reason


def replicas(snapshots: Sequence[ReplicaSnapshot]) -> list[Line]:
    """Returns a table of the replicas."""
    rows, colours = [], []
    for replica in snapshots:
        is_silent = replica.silent_ms > SILENT_MS
        status = "silent" if is_silent else "draining" if replica.is_draining else "serving"
        status += ", behind" if replica.is_behind else ""
        up, beat = duration(replica.age_ms), f"{duration(replica.silent_ms)} ago"
        rows.append((replica.id, replica.address, replica.version, status, replica.store, up, beat))
        colours.append(_RED if is_silent or replica.is_behind or replica.store == "standby" else _PLAIN)
    return _table(("REPLICA", "ADDRESS", "VERSION", "STATUS", "STORE", "UP", "HEARTBEAT"), rows, colours, set(range(5)))


def budgets(view: ClusterView) -> list[Line]:
    """Returns the budgets of the view, which are those with the least left."""
    rows, colours = [], []
    for budget in view.budgets:
        money = (f"{value:.6f}" for value in (budget.amount, budget.spent, budget.reserved, budget.left))
        turns = "-" if budget.turns_in_s is None else str(timedelta(seconds=round(budget.turns_in_s)))
        rows.append((budget.scope, *money, budget.per, turns))
        colours.append(_PLAIN if budget.left else _RED)
    lines = _table(("BUDGET", "AMOUNT", "SPENT", "RESERVED", "LEFT", "PER", "TURNS IN"), rows, colours, {0, 5})
    more = view.budgets_in_all - len(view.budgets)
    return [*lines, Line(f"and {more} more")] if more > 0 else lines


def usage(report: Mapping[str, Any]) -> list[Line]:
    """Returns a table of the usage that the admin API reported, with its total."""
    names, counts = list(report["by"]), list(report["total"])
    rows = [[*(str(row[name]) for name in names), *_usage_cells(row, counts)] for row in report["usage"]]
    rows.append([*("total" if k == 0 else "" for k in range(len(names))), *_usage_cells(report["total"], counts)])
    head = [name.upper().replace("_", " ") for name in (*names, *counts)]
    return _table(head, rows, [_PLAIN] * len(rows), set(range(len(names))))


def _usage_cells(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return [f"{row[name]:.6f}" if name == "cost" else f"{row[name]:,}" for name in names]


def event_line(event: Event) -> str:
    """Returns one event with its time."""
    at = moment(event.at_ms)
    if event.reason == "configured":  # from one version to the next
        return clean(f"{at}  {event.subject}  configured")
    why = f"{event.reason}: {event.error}" if event.error else event.reason
    return clean(f"{at}  {event.subject}  {event.before or '-'} > {event.to or '-'}  {why}")


def moment(at_ms: float) -> str:
    """Returns date and time in the time zone of this machine."""
    try:
        return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "?"


def histogram(buckets: Sequence[Bucket]) -> list[str]:
    """Returns a line for each bucket, with a bar as long as its share."""
    most = max((bucket.count for bucket in buckets), default=0)
    lines = []
    for bucket in buckets:
        bar = "#" * max(1, round(BAR_WIDTH * bucket.count / most))
        lines.append(f"  up to {duration(bucket.up_to_ms):>7}  {bar:<{BAR_WIDTH}}  {bucket.count:g}")
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], colours: Iterable[str], left: set[int]) -> list[Line]:
    """Aligns the columns of a table. ``left``: the indexes of the columns that are aligned to the left."""
    cleaned = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cleaned, strict=True)]

    def row(cells: Sequence[str]) -> str:
        pairs = enumerate(zip(cells, widths, strict=True))
        return "  ".join(cell.ljust(width) if k in left else cell.rjust(width) for k, (cell, width) in pairs)

    body = (Line(row(cells), colour) for cells, colour in zip(cleaned, colours, strict=True))
    return [Line(row(head), _DIM), *body]
