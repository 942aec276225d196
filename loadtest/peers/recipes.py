"""How each gateway of `make bench-peers` is started: configuration, command and address of one replica.

All get the same settings: two providers in order, a timeout for one attempt and, where they support it, a threshold and
a cooldown for a failing provider. Nothing here starts or writes anything.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from loadtest.cluster.programs import MODEL

ATTEMPT_S = 4  # timeout of an attempt; a shorter one would cut good answers of models
SLOW_S = 1.0  # above it an answer counts as slow: twenty times the healthy provider's latency
THRESHOLD_MS = 500  # ours only: a provider is slow if it takes longer for the first byte or for a few tokens
FAILURES = 5  # consecutive ones before a provider cools down
COOLDOWN_S = 30
CHAT = "/v1/chat/completions"
BACKUP_MODEL = "backup"
_KEY = "fgw_5Yc0kQm2Zt7Hs9Wb3Nx8Lr4Vd6Pj1Fe"  # valid only for the gateways started here; LiteLLM refuses weak keys
_BEARER = {"authorization": f"Bearer {_KEY}"}
_PORT_FILE = "tensorzero.port"


class ReplicaPorts(msgspec.Struct, frozen=True, kw_only=True):
    """The ports of one replica and its neighbours. Without an outage, both providers are the same."""

    port: int
    primary: int
    backup: int
    store: int
    is_cluster: bool
    """There are other replicas, so gateways that can share state get the store."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A command to run in a separate folder that holds `files`."""

    command: Sequence[str]
    files: Mapping[str, str] = {}
    environment: Mapping[str, str] = {}
    path: str = CHAT
    model: str = MODEL
    headers: Mapping[str, str] = {}
    port_file: str | None = None
    """Where the gateway's launcher writes the port, if it picks one itself."""


def pllm(ports: ReplicaPorts, _home: Path) -> Launch:
    configuration = {
        "server": {"access_log": False, "drain_timeout": "1s"},
        "state": {"url": f"redis://127.0.0.1:{ports.store}", "deadline": "250ms"},
        "auth": {"keys": [{"name": "bench", "key": _KEY}]},
        "router": {
            "affinity": {"mode": "off"},  # as at the others: every request is the same
            "fallbacks": {MODEL: [BACKUP_MODEL]},
            "circuit_breaker_threshold": FAILURES,
            "circuit_breaker_cooldown": f"{COOLDOWN_S}s",
            "latency_threshold": f"{THRESHOLD_MS}ms",
        },
        "model_list": [
            {
                "id": name,
                "model_name": name,
                "max_parallel": 1000,
                "timeout": f"{ATTEMPT_S}s",
                "first_byte_timeout": f"{ATTEMPT_S}s",
                "provider": {"base_url": _base(port), "api_key": "none", "model": MODEL},
            }
            for name, port in ((MODEL, ports.primary), (BACKUP_MODEL, ports.backup))
        ],
    }
    return Launch(
        command=[sys.executable, "-P", "-m", "gateway", "serve", "--config", "pllm.yaml", "--port", str(ports.port)],
        files={"pllm.yaml": yaml.safe_dump(configuration)},
        headers=_BEARER,
    )


def litellm(ports: ReplicaPorts, home: Path) -> Launch:
    # Fallbacks follow only after a group's own retries, which would call the failed provider here.
    router: dict[str, Any] = {
        "fallbacks": [{MODEL: [BACKUP_MODEL]}],
        "num_retries": 0,
        "allowed_fails": FAILURES - 1,  # failures without a cooldown
        "cooldown_time": COOLDOWN_S,
        "timeout": ATTEMPT_S,
    }
    if ports.is_cluster:
        router |= {"redis_host": "127.0.0.1", "redis_port": ports.store}
    configuration = {
        "model_list": [
            {
                "model_name": name,
                "litellm_params": {
                    "model": f"openai/{MODEL}",
                    "api_base": _base(port),
                    "api_key": "none",
                    "timeout": ATTEMPT_S,
                    "stream_timeout": ATTEMPT_S,
                },
            }
            for name, port in ((MODEL, ports.primary), (BACKUP_MODEL, ports.backup))
        ],
        "router_settings": router,
        "general_settings": {"master_key": _KEY},
        "litellm_settings": {"telemetry": False},
    }
    command = (str(home / "bin/litellm"), "--config", "litellm.yaml", "--host", "127.0.0.1", "--num_workers", "1")
    return Launch(
        command=[*command, "--port", str(ports.port)],
        files={"litellm.yaml": yaml.safe_dump(configuration)},
        environment={"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        headers=_BEARER,
    )


def hardcap(ports: ReplicaPorts, home: Path) -> Launch:
    providers = {"primary": ports.primary, "backup": ports.backup}
    configuration = {
        "listen": {"host": "127.0.0.1", "port": ports.port},
        "redis_url": f"redis://127.0.0.1:{ports.store}/0",
        "breaker": {"failure_threshold": FAILURES, "cooldown_s": COOLDOWN_S},
        "upstreams": {
            name: {"base_url": f"http://127.0.0.1:{port}", "read_timeout_s": ATTEMPT_S}
            for name, port in providers.items()
        },
        "routes": {MODEL: {"targets": [{"upstream": name, "model": MODEL} for name in providers]}},
        "tenants": {"bench": {"api_keys": [_KEY]}},
    }
    return Launch(
        command=[str(home / "bin/hardcap"), "serve", "-c", "hardcap.yaml"],
        files={"hardcap.yaml": yaml.safe_dump(configuration)},
        headers=_BEARER,
    )


def portkey(ports: ReplicaPorts, home: Path) -> Launch:
    targets = [
        {
            "provider": "openai",
            "api_key": "none",
            "custom_host": _base(port),
            "request_timeout": 1000 * ATTEMPT_S,
        }
        for port in (ports.primary, ports.backup)
    ]
    script = home / "node_modules/@portkey-ai/gateway/build/start-server.js"
    return Launch(
        command=["node", str(script), "--headless", f"--port={ports.port}"],
        environment={"TRUSTED_CUSTOM_HOSTS": "127.0.0.1"},
        headers={"x-portkey-config": json.dumps({"strategy": {"mode": "fallback"}, "targets": targets})},
    )


def tensorzero(ports: ReplicaPorts, home: Path) -> Launch:
    """Launches the gateway through a private function of its wheel, which picks the port itself."""
    limit = f"{{non_streaming.total_ms = {1000 * ATTEMPT_S}, streaming.ttft_ms = {1000 * ATTEMPT_S}}}"
    lines = ["[gateway]", "observability.enabled = false", f"[models.{MODEL}]", 'routing = ["primary", "backup"]']
    for name, port in (("primary", ports.primary), ("backup", ports.backup)):
        lines += [f"[models.{MODEL}.providers.{name}]", 'type = "openai"', f'model_name = "{MODEL}"']
        lines += [f'api_base = "{_base(port)}/"', 'api_key_location = "none"', f"timeouts = {limit}"]
    launcher = (
        "import pathlib, signal, urllib.parse\n"
        "from tensorzero.tensorzero import _start_http_gateway\n"
        'gateway = _start_http_gateway(config_file="tensorzero.toml", clickhouse_url=None, postgres_url=None,\n'
        "                              valkey_url=None, async_setup=False)\n"
        f'pathlib.Path("{_PORT_FILE}").write_text(str(urllib.parse.urlsplit(gateway.base_url).port))\n'
        "signal.pause()\n"
    )
    return Launch(
        command=[str(home / "bin/python"), "-c", launcher],
        files={"tensorzero.toml": "\n".join(lines) + "\n"},
        path="/openai/v1/chat/completions",
        model=f"tensorzero::model_name::{MODEL}",
        port_file=_PORT_FILE,
    )


def ferrogw(ports: ReplicaPorts, home: Path) -> Launch:
    target = {
        "models": [MODEL],
        "timeout": f"{ATTEMPT_S}s",
        "retry": {"attempts": 1},
        "circuit_breaker": {"failure_threshold": FAILURES, "timeout": f"{COOLDOWN_S}s"},
    }
    names = {"openai": ports.primary, "groq": ports.backup}
    targets = [{"virtual_key": name, **target} for name in names]
    environment = {"PORT": str(ports.port), "GATEWAY_CONFIG": "ferrogw.yaml", "MASTER_KEY": _KEY}
    # Its limit of requests per address would limit the load, and no other gateway logs each request.
    environment |= {"RATE_LIMIT_RPS": "0", "LOG_LEVEL": "error"}
    for name, port in names.items():
        environment |= {f"{name.upper()}_API_KEY": "none", f"{name.upper()}_BASE_URL": _base(port)}
    return Launch(
        command=[str(home / "bin/ferrogw")],
        files={"ferrogw.yaml": yaml.safe_dump({"strategy": {"mode": "fallback"}, "targets": targets})},
        environment=environment,
        headers=_BEARER,
    )


def _base(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"
