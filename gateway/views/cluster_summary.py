"""The part of a live view that is not about deployments: this replica's region, the budgets nearest to their end, and
the desired number of replicas. The replica knows all of it, so the view needs no call to the store.
"""

from collections.abc import Callable
from heapq import nsmallest

from gateway.views.autoscale import why
from gateway.views.budgets import budgets_shown
from shared_state.ledger import Ledger
from shared_state.scaling import Scaling

BUDGETS_MOST = 8


def cluster_summary(
    region: str | None, ledger: Ledger, scaling: Scaling, waiting: Callable[[], dict[str, int]]
) -> dict[str, object]:
    """Returns the summary, without features that the configuration does not use. ``waiting``: returns the number of
    requests that wait on this replica, by model.
    """
    summary: dict[str, object] = {"waiting": waiting()}
    if region:
        summary["region"] = region
    if ledger.budgets:
        scopes = nsmallest(BUDGETS_MOST, ledger.budgets, lambda scope: _left(ledger, scope))
        shown = budgets_shown(ledger, scopes)
        summary["budgets"] = [{"scope": scope, **shown[scope]} for scope in scopes]
        summary["budgets_in_all"] = len(ledger.budgets)
    if scaling.is_wanted:
        signal = scaling.latest
        desired, reason = (signal.desired, why(signal)) if signal else (0, "not known now")
        summary["autoscale"] = {"desired_replicas": desired, "why": reason}
    return summary


def _left(ledger: Ledger, scope: str) -> tuple[float, str]:
    """Returns a sort key: the remaining share of a budget, then its scope."""
    amount, account = ledger.budgets[scope].amount, ledger.current(scope)
    return (amount - account.spent - account.reserved) / amount if amount else 0.0, scope
