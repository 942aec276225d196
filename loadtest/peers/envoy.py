"""Envoy's configuration for `make bench-peers`: nothing about LLMs, only what a plain proxy can do in an outage."""

from pathlib import Path
from typing import Any

import yaml

from loadtest.peers.recipes import ATTEMPT_S, COOLDOWN_S, FAILURES, Launch, ReplicaPorts

_HTTP = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_PRIORITIES = "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
_MANY = 10_000


def envoy(ports: ReplicaPorts, home: Path) -> Launch:
    listener = {"name": "bench", "address": _address(ports.port), "filter_chains": [{"filters": [_filter()]}]}
    resources = {"listeners": [listener], "clusters": [_cluster(ports)]}
    return Launch(
        # Several Envoys on one machine need different base ids.
        command=[
            str(home / "bin/envoy"),
            "-c",
            "envoy.yaml",
            "--concurrency",
            "1",
            "-l",
            "warning",
            "--use-dynamic-base-id",
        ],
        files={"envoy.yaml": yaml.safe_dump({"static_resources": resources})},
    )


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _filter() -> dict[str, Any]:
    retry = {
        "retry_on": "5xx,reset,connect-failure",
        "num_retries": 1,
        "per_try_timeout": f"{ATTEMPT_S}s",
        # Without it the retry goes to the same priority, so to the provider that has just failed.
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {"@type": _PRIORITIES, "update_frequency": 1},
        },
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "providers", "timeout": "60s", "retry_policy": retry}}
    manager = {
        "@type": _HTTP,
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def _cluster(ports: ReplicaPorts) -> dict[str, Any]:
    return {
        "name": "providers",
        "type": "STATIC",
        "connect_timeout": f"{ATTEMPT_S}s",
        "load_assignment": {
            "cluster_name": "providers",
            "endpoints": [
                {"priority": priority, "lb_endpoints": [{"endpoint": {"address": _address(port)}}]}
                for priority, port in enumerate((ports.primary, ports.backup))
            ],
        },
        "outlier_detection": {
            "consecutive_5xx": FAILURES,
            "interval": "1s",
            "base_ejection_time": f"{COOLDOWN_S}s",
            "max_ejection_percent": 100,
        },
        # Its default of three concurrent retries is for clusters of many hosts; further retries would be errors.
        "circuit_breakers": {
            "thresholds": [
                {"priority": "DEFAULT", **dict.fromkeys(("max_connections", "max_pending_requests"), _MANY)}
                | dict.fromkeys(("max_requests", "max_retries"), _MANY)
            ]
        },
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }
