"""`pllm state`: the content of the store in a terminal, without a gateway. Without words it shows the domain, and with
the id of a deployment that deployment. Any other words are a command, sent as redis-cli would send it.
"""

from collections.abc import Mapping, Sequence

from gateway.cli import tables
from gateway.cli.tables import ClusterView
from gateway.views.model_stats import duration
from shared_state.inspector import Inspected, Inspector, inspecting
from shared_state.money import MICRO

_MONEY = ("amount", "spent", "reserved")
_WIDTH = 10_000  # lines are not cut


def shown(url: str, domain: str, words: Sequence[str]) -> list[str]:
    """Returns the lines to print. Raises StateError."""
    with inspecting(url, domain, words[1] if len(words) > 1 else "") as inspector:
        if not words:
            return _domain(inspector, domain)
        inspected = inspector.deployment(words[0]) if len(words) == 1 else None
        return inspector.execute(words) if inspected is None else _deployment(inspected)


def _domain(inspector: Inspector, domain: str) -> list[str]:
    overview = inspector.overview()
    snapshot = overview.snapshot
    view = ClusterView(
        at_ms=snapshot.now_ms,
        active=snapshot.active,
        requests=snapshot.requests,
        failures=snapshot.failures,
        healthy_ratio=snapshot.healthy_ratio,
        shed_reasons=tuple(filter(None, snapshot.shed_reasons.split(","))),
        deployments=snapshot.deployments,
        replicas=tuple(overview.replicas),
        events=tuple(overview.events),
    )
    head = f"domain {domain}   epoch {tables.clean(snapshot.epoch) or '-'}   sequence {snapshot.sequence}"
    if snapshot.policy_version:
        head += f"   configured {tables.moment(snapshot.policy_version)}"
    return [head, *(line.fit(_WIDTH, False) for line in tables.cluster(view)), *_budgets(overview.budgets)]


def _budgets(budgets: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Returns the budgets as last written: a period that has ended stays until the next call."""
    if not budgets:
        return []
    rows: list[tuple[str, ...]] = [("BUDGET", "AMOUNT", "SPENT", "RESERVED", "PERIOD")]
    for scope, fields in budgets.items():
        rows.append((scope, *(_money(fields.get(name, "0")) for name in _MONEY), fields.get("period", "")))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "",
        *("  ".join(tables.clean(w).ljust(n) for w, n in zip(row, widths, strict=True)).rstrip() for row in rows),
    ]


def _money(micro: str) -> str:
    try:
        return f"{int(micro) / MICRO:.6f}"
    except ValueError:
        return micro


def _deployment(inspected: Inspected) -> list[str]:
    deployment = inspected.deployment
    lines = [
        tables.clean(deployment.id),
        f"  {deployment.state}  {tables.clean(tables.reason_of(deployment))}".rstrip(),
        "",
    ]
    width = max(map(len, deployment.stored), default=0)
    for name, value in sorted(deployment.stored.items()):
        lines.append(
            f"  {tables.clean(name):<{width}}  {tables.clean(value)}{_time(name, value, inspected.now_ms)}".rstrip()
        )
    if deployment.last_error:
        ago = duration(max(0, inspected.now_ms - deployment.last_error_at_ms))
        at = f"{tables.moment(deployment.last_error_at_ms)}, {ago} ago"
        lines += ["", f"last error ({at})", f"  {tables.clean(deployment.last_error)}"]
    lines += ["", f"latencies of the last minute ({sum(bucket.count for bucket in deployment.histogram):g} successes)"]
    lines += tables.histogram(deployment.histogram)
    lines += ["", f"active requests: {deployment.active} of at most {deployment.limit}"]
    for lease in inspected.leases:
        marks = [
            text for text, is_so in (("probe", lease.is_probe), ("first byte arrived", lease.is_answered)) if is_so
        ]
        lines.append(f"  {tables.clean(lease.token)}  for {duration(lease.age_ms)}  {', '.join(marks)}".rstrip())
    return lines


def _time(name: str, value: str, now_ms: int) -> str:
    """Returns a time of the store as date and distance from now; empty for any other field."""
    if not name.endswith(("_at_ms", "_until_ms", "_deadline_ms", "_since_ms")) and not name.startswith("unsupported:"):
        return ""
    try:
        at_ms = float(value)
    except ValueError:
        return ""
    away_ms = at_ms - now_ms
    far = f"in {duration(away_ms)}" if away_ms > 0 else f"{duration(-away_ms)} ago"
    return f"  ({tables.moment(at_ms)}, {far})"
