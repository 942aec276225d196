"""The part of a configuration that the scripts read: settings of the router, of deployments and of tenants."""

import hashlib
from typing import Annotated, Literal

import msgspec

from shared_state.money import Budget


class RouterPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that every replica must apply alike. Rates, ratios and weights 0..1, times in ms, health 0..100."""

    breaker_enabled: bool
    last_resort: bool
    failure_threshold: int
    min_calls: int
    failure_rate: float
    slow_limit: int
    slow_rate: float
    max_cooldown_ms: int
    group_share: float = 0.5
    probes: int
    probe_successes: int
    slow_start_ms: int
    trip_memory_ms: int
    load_weight: float
    latency_weight: float
    error_weight: float
    min_health: float
    fallback_advantage: float
    max_active: int
    critical_reserve: float
    min_healthy_ratio: float
    max_failure_rate: float
    retry_ratio: float
    retry_floor_per_second: float
    affinity_ttl_ms: int | None = None  # None: sessions have no pins, and an absent field costs decisions nothing
    affinity_band: float | None = None
    affinity_entries: int | None = None


class DeploymentPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Policy of one deployment; a limit of None means unlimited.

    ``lease_ms``: a lease expires after this time, which is longer than the longest call. ``price``: currency per
    million tokens, input and output added, used for comparison only. ``group``: the deployments of its domain that
    fail together; None where it is alone. ``group_size``: how many they are.
    """

    id: str
    lease_ms: int
    latency_threshold_ms: int | None = None  # None: relative to the deployment's own baseline
    token_allowance_ms: int
    cooldown_ms: int
    limit: int
    priority: int
    weight: float
    price: float
    rpm: int | None = None
    tpm: int | None = None
    concurrency: str = "adaptive"
    region: str | None = None
    account: str | None = None  # `@` and the first deployment with the same provider and key; None: it is the first
    group: str | None = None
    group_size: int | None = None
    domain: str = ""  # the routing domain whose keys hold it
    model: str = ""  # the model that it serves


class AutoscalePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The rule for the number of replicas: each carries at most ``utilization`` (0..1) of ``target_concurrency``, and
    the number falls only after ``scale_down_delay_ms``.
    """

    target_concurrency: int
    utilization: float
    min_replicas: int
    max_replicas: int
    scale_down_delay_ms: int
    ahead_ms: int = 0


class TenantLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one tenant in the whole domain; None means unlimited. ``weight``: its share of full deployments.
    The anonymous tenant has no name; its clients are not distinguished, so it has no budget either.
    """

    name: str = ""
    rpm: int | None = None
    tpm: int | None = None
    max_parallel: int | None = None
    weight: float = 1.0
    budget: Budget | None = None


UNLIMITED = TenantLimits()


_Limit = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]


class TenantRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tenant as the store keeps it. ``key_hash``: SHA-256 of its key, hexadecimal; no models means all of them. Every
    field has bounds, because the record may have been overwritten.
    """

    name: str
    key_hash: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    priority: Literal["critical", "high", "normal", "low", "bulk"] = "normal"
    models: tuple[str, ...] = ()
    rpm: _Limit | None = None
    tpm: _Limit | None = None
    max_parallel: _Limit | None = None
    weight: Annotated[float, msgspec.Meta(ge=0.001, le=1_000_000_000)] = 1.0
    budget: Budget | None = None


class Configuration(msgspec.Struct, frozen=True):
    """The meaning of a configuration file for the shared state. ``version``: the store's number for it while it is in
    force, else 0, and then it is never written. ``region``: this replica's, or empty. ``fingerprint``: see
    `fingerprinted`.
    """

    version: int
    router: RouterPolicy
    deployments: tuple[DeploymentPolicy, ...]
    autoscale: AutoscalePolicy | None = None
    region: str = ""
    fingerprint: str = ""

    def of(self, *domains: str) -> "Configuration":
        """Returns the part that belongs to these domains."""
        return msgspec.structs.replace(self, deployments=tuple(d for d in self.deployments if d.domain in domains))


class Published(msgspec.Struct, frozen=True):
    """The configuration in force as the store keeps it. Another release may know other fields."""

    router: dict[str, object]
    deployments: list[dict[str, object]]
    autoscale: dict[str, object] | None = None


def fingerprinted(configuration: Configuration) -> Configuration:
    """Returns the configuration with the hash of everything that replicas must have in common; the order of the
    deployments does not matter.
    """
    digest = hashlib.sha256(published(configuration)).hexdigest()[:16]
    # A letter comes first, because Lua converts text that looks like a number.
    return msgspec.structs.replace(configuration, fingerprint=f"f{digest}")


def published(configuration: Configuration) -> bytes:
    """Returns canonical JSON: a whole number in a field of floats keeps its `.0`, as after it was read again."""
    deployments = sorted(configuration.deployments, key=lambda policy: policy.id)
    autoscale = None if configuration.autoscale is None else _fields(configuration.autoscale)
    return msgspec.json.encode(Published(_fields(configuration.router), [_fields(d) for d in deployments], autoscale))


def _fields(policy: msgspec.Struct) -> dict[str, object]:
    fields: dict[str, object] = msgspec.to_builtins(msgspec.convert(msgspec.to_builtins(policy), type(policy)))
    return fields


def from_published(text: bytes, own: Configuration) -> Configuration:
    """Returns a configuration that another replica has published, for use by this one. Fields that this release does
    not know are left out; fields that the other release does not know are taken from this replica's own file. Raises
    msgspec.MsgspecError.
    """
    given = msgspec.json.decode(text, type=Published)
    known = {policy.id: msgspec.to_builtins(policy) for policy in own.deployments}
    router = msgspec.convert({**msgspec.to_builtins(own.router), **given.router}, RouterPolicy)
    deployments = tuple(
        msgspec.convert({**known.get(str(fields.get("id")), {}), **fields}, DeploymentPolicy)
        for fields in given.deployments
    )
    autoscale = None
    if given.autoscale is not None:
        base = {} if own.autoscale is None else msgspec.to_builtins(own.autoscale)
        autoscale = msgspec.convert({**base, **given.autoscale}, AutoscalePolicy)
    return fingerprinted(Configuration(0, router, deployments, autoscale, own.region))
