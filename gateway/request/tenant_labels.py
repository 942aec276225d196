"""The tenants that metrics name. Their number is bounded, because each one multiplies the series of its metrics."""

from collections.abc import Iterable
from itertools import islice

from gateway.request.auth import ANONYMOUS

OTHER = "other"


class TenantLabels:
    """The labels of tenants. The first ``most`` tenants have their own, the rest share `other`. All replicas choose
    alike: tenants of the configuration come first, in its order, then those of the store, by name.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._named: frozenset[str] = frozenset()
        self.show(())

    def show(self, names: Iterable[str]) -> None:
        """Takes the names of all tenants, in their order."""
        self._named = frozenset((*islice(names, self.most), ANONYMOUS.name))

    def of(self, tenant: str) -> str:
        return tenant if tenant in self._named else OTHER

    def is_current(self, label: str) -> bool:
        """Returns whether a tenant may have this label now."""
        return label in self._named or label == OTHER


NO_LABELS = TenantLabels(0)
