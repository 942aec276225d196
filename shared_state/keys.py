"""Every key name. The braces are the Cluster hash tag: all keys of a domain live in one slot, so that one script may
touch all of them.

Lua builds some names from these. Only the token of a lease names its tenant, hence `tenant_leases:<name>`,
`limit:tenant:<name>`, `budget:tenant:<name>`, `budget:domain` and `reservations`. Parts of `owners` are numbered in the
store, hence `owners:<part>`. Only the set of replicas has their ids, hence `replica:<id>`. A success need not send
`last_error:<deployment>`. Only the store's clock knows the day of `usage:<day>`, next to which is
`usage_sent:<replica>`. Only requests with a session need `affinity:0` and `affinity:1`. Only
a deployment's hash names its group, hence `group:<name>`.

A lease's score in `leases:<id>` is its start in ms; its fraction holds the marks of lua/include/lease/lease.lua.
"""

from collections.abc import Iterable

DOMAIN = "domain"  # whose budget, where it is not a tenant's


def tenant_scope(name: str) -> str:
    return f"tenant:{name}"


class Keys:
    """Key names of one routing domain, as bytes ready for the wire."""

    def __init__(self, domain: str) -> None:
        self.name = domain
        self.prefix = f"pllm:{{{domain}}}:"
        self.domain = self._key("global")
        self.policy = self._key("policy")
        self.leases = self._key("leases")
        self.window = self._key("window")
        self.events = self._key("events")
        self.replicas = self._key("replicas")
        self.autoscale = self._key("autoscale")
        self.autoscale_week = self._key("autoscale_week")  # the load of each five minutes of a week
        self.tenants = self._key("tenants")  # a HASH, and the channel of its changes
        self.reload = self._key("reload")  # a HASH, and the channel of the agreement on a configuration
        self.configuration = self._key("configuration")  # what is in force, whole, as JSON
        self.libraries = self._key("libraries")  # a HASH: the libraries of other versions, and when they were last used
        self.owners = self._key("owners")  # a HASH, and parts `owners:<number>`: who holds what answers have named
        self.freed = self._key("freed")  # a channel: deployments of which a request has ended, while requests wait

    def _key(self, name: str) -> bytes:
        return (self.prefix + name).encode()

    def replica(self, replica: str) -> bytes:
        return self._key(f"replica:{replica}")

    def round_trips(self, region: str) -> bytes:
        """Returns the key of the round trips from a region, in ms by deployment."""
        return self._key(f"rtt:{region}")

    def deployment(self, deployment_id: str) -> bytes:
        return self._key(f"deployment:{deployment_id}")

    def deployment_leases(self, deployment_id: str) -> bytes:
        return self._key(f"leases:{deployment_id}")

    def deployment_window(self, deployment_id: str) -> bytes:
        return self._key(f"window:{deployment_id}")

    def last_error(self, deployment_id: str) -> bytes:
        return self._key(f"last_error:{deployment_id}")

    def scopes(self, scopes: Iterable[str]) -> list[bytes]:
        """Returns the keys of each scope's budget and rate limit, in the order in which `budgets` takes them."""
        return [self._key(f"{kind}:{scope}") for scope in scopes for kind in ("budget", "limit")]

    def candidate(self, deployment_id: str) -> tuple[bytes, bytes, bytes]:
        """Returns the three keys of a deployment, in the order in which scripts take them."""
        return (
            self.deployment(deployment_id),
            self.deployment_leases(deployment_id),
            self.deployment_window(deployment_id),
        )

    def usage(self, day: str) -> bytes:
        """Returns the key of what tenants used on a day, such as `2026-11-30`."""
        return self._key(f"usage:{day}")

    def snapshot(self, deployment_ids: Iterable[str], region: str = "") -> list[bytes]:
        """Returns the keys that `snapshot` reads, in its order."""
        names = [self.domain, self.policy, self.leases, self.window, self.replicas]
        for deployment_id in deployment_ids:
            names += self.candidate(deployment_id)
        if region:
            names.append(self.round_trips(region))
        return names
