"""`pllm state`: the store itself in a terminal, without a gateway. No word: the domain. One word that is a deployment:
that. Anything else: a command, as redis-cli would send it.
"""

from collections.abc import Mapping, Sequence

from gateway.cli import tables
from gateway.cli.tables import ClusterView
from gateway.views.model_stats import duration
from shared_state.inspector import Inspected, Inspector, inspecting
from shared_state.money import MICRO

_MONEY = ("amount", "spent", "reserved")
_WIDTH = 10_000  # lines are as long as they are


def shown(url: str, domain: str, words: Sequence[str]) -> list[str]:
    """Raises StateError."""
    with inspecting(url, domain, words[1] if len(words) > 1 else "") as inspector:
        if not words:
            return _domain(inspector, domain)
        found = inspector.deployment(words[0]) if len(words) == 1 else None
        return inspector.execute(words) if found is None else _deployment(found)


def _domain(inspector: Inspector, domain: str) -> list[str]:
    found = inspector.overview()
    snapshot = found.snapshot
    view = ClusterView(
        at_ms=snapshot.now_ms,
        active=snapshot.active,
        requests=snapshot.requests,
        failures=snapshot.failures,
        healthy_ratio=snapshot.healthy_ratio,
        shed_reasons=tuple(filter(None, snapshot.shed_reasons.split(","))),
        deployments=snapshot.deployments,
        replicas=tuple(found.replicas),
        events=tuple(found.events),
    )
    head = f"domain {domain}   epoch {tables.clean(snapshot.epoch) or '-'}   sequence {snapshot.sequence}"
    if snapshot.policy_version:
        head += f"   configured {tables.moment(snapshot.policy_version)}"
    return [head, *(line.fit(_WIDTH, False) for line in tables.cluster(view)), *_budgets(found.budgets)]


def _budgets(budgets: Mapping[str, Mapping[str, str]]) -> list[str]:
    """As they were written last: a period that has ended stays until the next call."""
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


def _deployment(found: Inspected) -> list[str]:
    each = found.deployment
    lines = [tables.clean(each.id), f"  {each.state}  {tables.clean(tables.reason_of(each))}".rstrip(), ""]
    width = max(map(len, each.stored), default=0)
    for name, value in sorted(each.stored.items()):
        lines.append(
            f"  {tables.clean(name):<{width}}  {tables.clean(value)}{_time(name, value, found.now_ms)}".rstrip()
        )
    if each.last_error:
        ago = duration(max(0, found.now_ms - each.last_error_at_ms))
        at = f"{tables.moment(each.last_error_at_ms)}, {ago} ago"
        lines += ["", f"last error ({at})", f"  {tables.clean(each.last_error)}"]
    lines += ["", f"latencies of the last minute ({sum(bucket.count for bucket in each.histogram):g} successes)"]
    lines += tables.histogram(each.histogram)
    lines += ["", f"active requests: {each.active} of at most {each.limit}"]
    for lease in found.leases:
        marks = [
            text for text, is_so in (("probe", lease.is_probe), ("first byte arrived", lease.is_answered)) if is_so
        ]
        lines.append(f"  {tables.clean(lease.token)}  for {duration(lease.age_ms)}  {', '.join(marks)}".rstrip())
    return lines


def _time(name: str, value: str, now_ms: int) -> str:
    """What a time of the store is on a clock, and how far away."""
    if not name.endswith(("_at_ms", "_until_ms", "_deadline_ms", "_since_ms")) and not name.startswith("unsupported:"):
        return ""
    try:
        at_ms = float(value)
    except ValueError:
        return ""
    away_ms = at_ms - now_ms
    far = f"in {duration(away_ms)}" if away_ms > 0 else f"{duration(-away_ms)} ago"
    return f"  ({tables.moment(at_ms)}, {far})"
