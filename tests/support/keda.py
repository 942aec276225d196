"""Of KEDA's own resources as much as our manifests use, after the fields that its documentation names. Unknown ones are
refused; values of a trigger's metadata are always text.
"""

# ruff: noqa: N815 - the names are those of the fields

from typing import Any, Literal

import msgspec


class _Documented(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    pass


class Metadata(_Documented):
    name: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Target(_Documented):
    name: str
    kind: str = "Deployment"
    apiVersion: str = "apps/v1"


class Rules(_Documented):
    stabilizationWindowSeconds: int


class Behavior(_Documented):
    scaleUp: Rules | None = None
    scaleDown: Rules | None = None


class HpaConfig(_Documented):
    name: str = ""
    behavior: Behavior | None = None


class Advanced(_Documented):
    restoreToOriginalReplicaCount: bool = False
    horizontalPodAutoscalerConfig: HpaConfig | None = None


class Reference(_Documented):
    name: str
    kind: Literal["TriggerAuthentication", "ClusterTriggerAuthentication"] = "TriggerAuthentication"


class Prometheus(_Documented):
    serverAddress: str
    query: str
    threshold: str
    activationThreshold: str = "0"
    ignoreNullValues: Literal["true", "false"] = "true"


class MetricsApi(_Documented):
    url: str
    valueLocation: str
    targetValue: str
    activationTargetValue: str = "0"
    format: Literal["json", "xml", "yaml", "prometheus"] = "json"
    authMode: Literal["apiKey", "basic", "tls", "bearer"] | None = None


class Cpu(_Documented):
    value: str


class Trigger(_Documented):
    type: Literal["prometheus", "metrics-api", "cpu"]
    metadata: dict[str, str]
    name: str = ""
    metricType: Literal["AverageValue", "Value", "Utilization"] = "AverageValue"
    authenticationRef: Reference | None = None
    useCachedMetrics: bool = False


class ScaledObjectSpec(_Documented):
    scaleTargetRef: Target
    triggers: list[Trigger]
    pollingInterval: int = 30
    cooldownPeriod: int = 300
    minReplicaCount: int = 0
    maxReplicaCount: int = 100
    advanced: Advanced | None = None


class SecretKey(_Documented):
    parameter: str
    name: str
    key: str


class TriggerAuthenticationSpec(_Documented):
    secretTargetRef: list[SecretKey]


class ScaledObject(_Documented):
    apiVersion: Literal["keda.sh/v1alpha1"]
    kind: Literal["ScaledObject"]
    metadata: Metadata
    spec: ScaledObjectSpec


class TriggerAuthentication(_Documented):
    apiVersion: Literal["keda.sh/v1alpha1"]
    kind: Literal["TriggerAuthentication"]
    metadata: Metadata
    spec: TriggerAuthenticationSpec


_KINDS = {"ScaledObject": ScaledObject, "TriggerAuthentication": TriggerAuthentication}
_TRIGGERS = {"prometheus": Prometheus, "metrics-api": MetricsApi, "cpu": Cpu}


def validate(manifest: dict[str, Any]) -> None:
    """Raises msgspec.ValidationError, which names the field."""
    resource = msgspec.convert(manifest, _KINDS[manifest["kind"]])
    if isinstance(resource, ScaledObject):
        for trigger in resource.spec.triggers:
            msgspec.convert(trigger.metadata, _TRIGGERS[trigger.type])
