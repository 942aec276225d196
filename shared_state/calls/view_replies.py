"""Converts replies of the scripts that show the state to Structs. Each docstring names the script whose reply the
function reads.
"""

import time
from typing import cast

import msgspec

from shared_state.calls.reply_values import as_fields, as_number, as_text
from shared_state.connection.call import Reply
from shared_state.errors import NotConfigured
from shared_state.money import Account
from shared_state.records import MinuteUsed
from shared_state.snapshots import (
    Bucket,
    CandidateVerdict,
    DeploymentSnapshot,
    DomainSnapshot,
    Event,
    Explanation,
    ReplicaSnapshot,
    ScalingSignal,
    UsageRow,
)


def snapshot(replies: list[Reply], ids: list[tuple[str, ...]]) -> DomainSnapshot:
    """Reads the replies of snapshot, one per chunk of deployments; the domain's fields come from the newest chunk."""
    head = cast(Reply, replies[-1][0])
    deployments: list[DeploymentSnapshot] = []
    for reply, chunk in zip(replies, ids, strict=True):
        for deployment_id, row in zip(chunk, reply[1:], strict=True):
            deployments.append(_deployment(deployment_id, as_fields(cast(Reply, row))))
    return DomainSnapshot(
        epoch=as_text(head[0]),
        sequence=as_number(head[1]),
        now_ms=as_number(head[2]),
        policy_version=as_number(head[3]),
        active=as_number(head[4]),
        replicas_alive=as_number(head[5]),
        shed_reasons=as_text(head[6]),
        healthy_ratio=float(as_text(head[7])),
        requests=as_number(head[8]),
        failures=as_number(head[9]),
        retry_tokens=float(as_text(head[10])),
        deployments=tuple(deployments),
    )


_STORED = "stored."


def _deployment(deployment_id: str, row: dict[str, str]) -> DeploymentSnapshot:
    fields: dict[str, object] = {name: value for name, value in row.items() if not name.startswith(_STORED)}
    stored = {name.removeprefix(_STORED): value for name, value in row.items() if name.startswith(_STORED)}
    buckets = [bucket.split(":") for bucket in row.get("histogram", "").split()]
    fields |= {"id": deployment_id, "stored": stored, "histogram": [Bucket(float(b[0]), float(b[1])) for b in buckets]}
    for name in ("baseline_ms", "slow_above_ms"):
        fields[name] = dict(word.split(":") for word in row.get(name, "").split())
    fields["unsupported"] = row.get("unsupported", "").split()
    return msgspec.convert(fields, DeploymentSnapshot, strict=False)


def events(reply: Reply) -> list[Event]:
    """Reads the reply of events."""
    found = []
    for event_id, row in cast(list[tuple[object, Reply]], reply):
        found.append(msgspec.convert({**as_fields(row), "id": as_text(event_id)}, Event, strict=False))
    return found


def roster(reply: Reply) -> list[ReplicaSnapshot]:
    """Reads the reply of roster, sorted by id."""
    now_ms, found = as_number(reply[0]), []
    for replica_id, last_ms, *row in cast(list[Reply], reply[1:]):
        row_fields = as_fields(row)
        started_at_ms = int(row_fields.get("started_at_ms", "0"))
        found.append(
            ReplicaSnapshot(
                id=as_text(replica_id),
                silent_ms=max(0, now_ms - as_number(last_ms)),
                address=row_fields.get("address", ""),
                version=row_fields.get("version", ""),
                age_ms=max(0, now_ms - started_at_ms) if started_at_ms else 0,
                is_draining=row_fields.get("draining", "0") != "0",
                store=row_fields.get("store", ""),
                is_behind=row_fields.get("behind") == "1",
            )
        )
    return sorted(found, key=lambda replica: replica.id)


def autoscaled(reply: Reply) -> ScalingSignal | None:
    """Reads the reply of autoscale; None when the store knows of no cluster yet."""
    if not reply:
        return None
    return msgspec.convert({**as_fields(reply[1:]), "now_ms": as_number(reply[0])}, ScalingSignal, strict=False)


def budgets(reply: Reply) -> list[tuple[Account, MinuteUsed]]:
    """Reads the reply of budgets, in the order of the requested scopes."""
    now_s, found = time.monotonic(), []
    for row in cast(list[Reply], reply):
        spent, reserved, per, period, left_ms, requests_ms, tokens_ms = row
        ends_s = now_s + as_number(left_ms) / 1000 if left_ms else 0.0
        account = Account(as_number(spent), as_number(reserved), as_text(per), as_text(period), ends_s)
        found.append((account, MinuteUsed(as_number(requests_ms), as_number(tokens_ms))))
    return found


def usage(reply: Reply) -> dict[tuple[str, str], UsageRow]:
    """Reads the reply of usage: the counts by tenant and model. Skips fields that are not such counts."""
    rows: dict[tuple[str, str], UsageRow] = {}
    for name, text in as_fields(reply).items():
        tenant, _, model = name.partition(" ")
        counts = text.split()
        if model and len(counts) == len(UsageRow.__struct_fields__) and all(map(str.isdecimal, counts)):
            rows[tenant, model] = UsageRow(*map(int, counts))
    return rows


_VERDICT_FIELDS = 10


def explained(reply: Reply, ids: tuple[str, ...]) -> Explanation:
    """Reads the reply of explain. Raises NotConfigured."""
    if reply[0] == b"unconfigured":
        raise NotConfigured("the store does not know this configuration")
    picked = as_number(reply[1])
    candidates = []
    for position, deployment_id in enumerate(ids):
        row = reply[3 + position * _VERDICT_FIELDS :][:_VERDICT_FIELDS]
        candidates.append(
            CandidateVerdict(
                deployment_id=deployment_id,
                verdict=as_text(row[0]),
                tier=as_number(row[1]),
                state=as_text(row[2]),
                active=as_number(row[3]),
                limit=as_number(row[4]),
                wait_ms=as_number(row[5]),
                health=float(as_text(row[6])),
                score=float(as_text(row[7])),
                region=as_text(row[8]),
                rtt_ms=float(as_text(row[9])) if row[9] else None,
            )
        )
    return Explanation(as_text(reply[0]), ids[picked - 1] if picked else None, tuple(candidates), as_text(reply[2]))
