"""The deployments that fail together: those with one `provider_group`, which is by default the provider's address."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from gateway.configuration.settings import DeploymentSettings
from shared_state.policies import DeploymentPolicy

LONGEST = 64  # a longer value would make a deployment's hash in the store several times as large
_PORTS = {"http": 80, "https": 443}


def group_of(deployment: DeploymentSettings) -> str:
    """Returns the name of the deployment's group. The end of an address of more than 64 characters is hashed."""
    if deployment.provider_group is not None:
        return deployment.provider_group
    parts = urlsplit(deployment.provider.base_url)
    host = parts.hostname or ""
    address = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or _PORTS[parts.scheme]}"
    if len(address) <= LONGEST:
        return address
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    return f"{address[: LONGEST - 17]}~{digest}"


def grouped(policies: Sequence[DeploymentPolicy], groups: Sequence[str]) -> tuple[DeploymentPolicy, ...]:
    """Returns the policies with their groups, in the same order. A deployment that is alone in its domain gets none."""
    sizes = Counter((policy.domain, group) for policy, group in zip(policies, groups, strict=True))
    return tuple(
        msgspec.structs.replace(policy, group=group, group_size=size) if size > 1 else policy
        for policy, group in zip(policies, groups, strict=True)
        for size in (sizes[policy.domain, group],)
    )
