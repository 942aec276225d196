"""What a live view shows around the deployments: this replica's region, the budgets that are nearest to their end, and
how many replicas there should be. All of it is known here already; nothing is asked of the store for it.
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
    """Nothing of what the configuration does not use. ``waiting``: requests on this replica, by model."""
    found: dict[str, object] = {"waiting": waiting()}
    if region:
        found["region"] = region
    if ledger.budgets:
        scopes = nsmallest(BUDGETS_MOST, ledger.budgets, lambda scope: _left(ledger, scope))
        shown = budgets_shown(ledger, scopes)
        found["budgets"] = [{"scope": scope, **shown[scope]} for scope in scopes]
        found["budgets_in_all"] = len(ledger.budgets)
    if scaling.is_wanted:
        signal = scaling.latest
        desired, reason = (signal.desired, why(signal)) if signal else (0, "not known now")
        found["autoscale"] = {"desired_replicas": desired, "why": reason}
    return found


def _left(ledger: Ledger, scope: str) -> tuple[float, str]:
    """The share of it that is left, in a settled order."""
    amount, account = ledger.budgets[scope].amount, ledger.current(scope)
    return (amount - account.spent - account.reserved) / amount if amount else 0.0, scope
