"""What the domain knows, where only its deployments matter to a test."""

from shared_state.snapshots import DeploymentSnapshot, DomainSnapshot


def snapshot_of(*deployments: DeploymentSnapshot) -> DomainSnapshot:
    return DomainSnapshot(
        epoch="e",
        sequence=1,
        now_ms=1,
        policy_version=1,
        active=0,
        replicas_alive=1,
        shed_reasons="",
        healthy_ratio=1.0,
        requests=0,
        failures=0,
        retry_tokens=0.0,
        deployments=deployments,
    )
