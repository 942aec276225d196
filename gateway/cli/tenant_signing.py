"""`pllm tenants`: lists the tenants in the store and which of them are signed, and signs tenants that a release before
signatures wrote. Each is named with a digest of its listed record, so that no other record is signed.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from gateway.configuration.auth import signing_secrets
from gateway.configuration.settings import ConfigurationError, Settings
from gateway.configuration.yaml_source import Problem
from shared_state.inspector import Inspector, inspecting
from shared_state.policies import TenantRecord
from shared_state.seal import Seal, body_of

DIGEST_SHOWN = 12  # hexadecimal digits


def run(settings: Settings, wanted: Sequence[str]) -> list[str]:
    """Signs ``wanted``, all of them or none, and returns a line for each tenant. Raises ConfigurationError,
    StateError.
    """
    secrets, url = signing_secrets(settings.auth), str(settings.state.url)
    if not url:
        raise ConfigurationError([Problem("state.url", "missing: an embedded store ends with its replica")])
    if not secrets:
        raise ConfigurationError([Problem("auth.signing_keys", "missing, and there is no admin key: no key can sign")])
    seal = Seal(settings.state.domain, secrets)
    with inspecting(url, settings.state.domain) as inspector:
        texts = inspector.tenants("read")
        if wanted:
            texts = _signed(inspector, seal, texts, wanted)
    return [_line(seal, name, text) for name, text in sorted(texts.items())] or ["no tenants in the store"]


def _signed(inspector: Inspector, seal: Seal, texts: dict[str, bytes], wanted: Sequence[str]) -> dict[str, bytes]:
    by_id = {_id(name, text): (name, text) for name, text in texts.items()}
    unknown = [tenant for tenant in wanted if tenant not in by_id or _record(*by_id[tenant]) is None]
    if unknown:
        raise ConfigurationError(
            [Problem(tenant, "not a readable tenant, or it has changed since it was listed") for tenant in unknown]
        )
    chosen = [by_id[tenant] for tenant in wanted]
    return inspector.tenants("sign", *((name, text, seal.signed(body_of(text))) for name, text in chosen))


def _id(name: str, text: bytes) -> str:
    return f"{name}@{hashlib.sha256(text).hexdigest()[:DIGEST_SHOWN]}"


def _record(name: str, text: bytes) -> TenantRecord | None:
    try:
        record = msgspec.json.decode(text, type=TenantRecord)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return record if record.name == name else None


def _line(seal: Seal, name: str, text: bytes) -> str:
    record = _record(name, text)
    if record is None:
        return f"{_id(name, text)!a}  cannot be read"
    fields = {key: value for key, value in msgspec.to_builtins(record).items() if key not in ("name", "key_hash")}
    state = "signed    " if seal.is_believed(text) else "NOT SIGNED"
    shown = msgspec.json.encode(fields).decode()
    return f"{_id(name, text)}  {state}  key {record.key_hash[:DIGEST_SHOWN]}…  {shown}"
