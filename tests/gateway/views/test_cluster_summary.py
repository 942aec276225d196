"""The summary of a live view: it holds the budgets nearest to their end."""

from gateway.views.cluster_summary import BUDGETS_MOST, cluster_summary
from shared_state.embedded import EmbeddedStore
from shared_state.failover import Failover
from shared_state.ledger import Ledger
from shared_state.money import Account, Budget
from shared_state.policies import TenantLimits
from shared_state.records import MinuteUsed
from shared_state.scaling import Scaling
from tests.support.live_state import opened_state
from tests.support.stores import on_loop


def ledger_of(**spent: int) -> Ledger:
    ledger = Ledger()
    ledger.watch(None, [TenantLimits(name=name, budget=Budget(100, "day")) for name in spent])
    for name, amount in spent.items():
        ledger.note(f"tenant:{name}", Account(spent=amount), MinuteUsed())
    return ledger


@on_loop
async def test_budgets_that_are_nearest_to_their_end_come_first(store: EmbeddedStore) -> None:
    ledger = ledger_of(**{f"t{k:02}": k for k in range(30)})
    async with opened_state(store.url, "a") as state:
        scaling = Scaling(Failover(state.store, None), lambda: 0)
        found = cluster_summary("eu", ledger, scaling, lambda: {"m": 1})
        nothing = cluster_summary(None, Ledger(), scaling, dict)

    budgets = found["budgets"]
    assert isinstance(budgets, list)
    assert [each["scope"] for each in budgets] == [f"tenant:t{29 - k}" for k in range(BUDGETS_MOST)]
    assert (found["budgets_in_all"], found["region"], found["waiting"]) == (30, "eu", {"m": 1})
    assert nothing == {"waiting": {}}
