"""Writes `dashboards/*.json` from the tables below: `python deploy/grafana/build.py`.

A panel is a title, a unit and its expressions; what Grafana wants around them is the same for all.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
RATE = "[$__rate_interval]"
WIDTH, HEIGHT = 8, 8  # of 24 columns
# Why traffic moved: every transition of a breaker, and every way to the standby store and back.
ANNOTATIONS = {
    "Breakers": ("max by (deployment) (increase(pllm_deployment_transitions_total[1m])) > 0", "{{deployment}}"),
    "Standby": ("max by (instance) (pllm_state_standby) > 0", "{{instance}} on its standby store"),
}


class Panel(NamedTuple):
    """``queries``: legend and expression; ``kind``: a Grafana panel type."""

    title: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"
    note: str = ""


def quantiles(metric: str, by: str = "", where: str = "") -> dict[str, str]:
    """p50, p95 and p99 of a histogram."""
    labels, legend = (f"{by}, le", f"{{{{{by}}}}} ") if by else ("le", "")
    rates = f"sum by ({labels}) (rate({metric}_bucket{where}{RATE}))"
    return {f"{legend}p{round(100 * q)}": f"histogram_quantile({q}, {rates})" for q in (0.5, 0.95, 0.99)}


def rate(metric: str, by: str, where: str = "") -> dict[str, str]:
    labels = [label.strip() for label in by.split(",")]
    legend = " ".join(f"{{{{{label}}}}}" for label in labels)
    return {legend: f"sum by ({by}) (rate({metric}{where}{RATE}))"}


OVERVIEW = [
    Panel("Answered", "reqps", rate("pllm_requests_total", "outcome")),
    Panel("Refused and failed", "reqps", rate("pllm_errors_total", "status, code")),
    Panel(
        "Lost by clients",
        "percentunit",
        {"5 minutes": "pllm:lost_ratio:rate5m", "1 hour": "pllm:lost_ratio:rate1h"},
        note="Errors 5xx and answers that broke off, of all requests.",
    ),
    Panel("Time to answer", "s", quantiles("pllm_answer_duration_seconds")),
    Panel("Added by the gateway", "s", quantiles("pllm_overhead_seconds")),
    Panel("Active requests", "short", {"active": "max(pllm_active_requests)"}),
    Panel(
        "Breakers",
        "short",
        {"{{state}}": "count by (state) (max by (deployment, state) (pllm_deployment_state) == 1)"},
        note="How many deployments are in which state.",
    ),
    Panel("Fallbacks", "reqps", rate("pllm_fallbacks_total", "from, to")),
    Panel("Sheds load because of", "short", {"{{reason}}": "max by (reason) (pllm_should_shed_load)"}),
    Panel("Replicas alive", "short", {"alive": "max(pllm_replicas_alive)"}, "stat"),
    Panel("On the standby store", "short", {"replicas": "sum(pllm_state_standby)"}, "stat"),
    Panel("Healthy deployments", "percentunit", {"healthy": "min(pllm_healthy_ratio)"}, "stat"),
    Panel(
        "Replicas, desired and alive",
        "short",
        {
            "desired": "max(pllm_desired_replicas)",
            "the load asks for": "max(pllm_autoscale_wanted_replicas)",
            "alive": "max(pllm_replicas_alive)",
        },
        note="With router.autoscale.",
    ),
    Panel("Calls to another region", "reqps", rate("pllm_spilled_total", "from, to"), note="With regions."),
    Panel(
        "Round trips",
        "s",
        {"{{region}} to {{deployment}}": "max by (region, deployment) (pllm_round_trip_seconds)"},
        note="With regions.",
    ),
]

ONE = '{deployment=~"$deployment"}'
MODEL = [
    Panel(
        "Breaker",
        "short",
        {"{{deployment}} {{state}}": f"max by (deployment, state) (pllm_deployment_state{ONE}) == 1"},
        "state-timeline",
    ),
    Panel("Health score", "short", {"{{deployment}}": f"max by (deployment) (pllm_deployment_health_score{ONE})"}),
    Panel(
        "Active and limit",
        "short",
        {
            "{{deployment}} active": f"max by (deployment) (pllm_deployment_active{ONE})",
            "{{deployment}} limit": f"max by (deployment) (pllm_deployment_limit{ONE})",
        },
    ),
    Panel("Traffic", "reqps", rate("pllm_requests_total", "deployment", ONE)),
    Panel(
        "Calls, by outcome",
        "reqps",
        rate("pllm_attempts_total", "deployment, outcome", ONE),
        note="Of the provider, those included that another deployment made good.",
    ),
    Panel(
        "Moves of the breaker",
        "short",
        {"{{deployment}}": f"max by (deployment) (increase(pllm_deployment_transitions_total{ONE}{RATE}))"},
    ),
    Panel("Probes", "short", {"{{deployment}} {{step}}": f"max by (deployment, step) (pllm_deployment_probes{ONE})"}),
    Panel("Time between chunks", "s", quantiles("pllm_chunk_gap_seconds", "deployment", ONE)),
    Panel(
        "Rate limit left",
        "percentunit",
        {
            "{{deployment}} requests": f"min by (deployment) (pllm_deployment_rpm_headroom{ONE})",
            "{{deployment}} tokens": f"min by (deployment) (pllm_deployment_tpm_headroom{ONE})",
        },
    ),
    Panel("Trips in a row", "short", {"{{deployment}}": f"max by (deployment) (pllm_deployment_trips{ONE})"}),
    Panel("Time to answer", "s", quantiles("pllm_answer_duration_seconds", "deployment", ONE)),
    Panel("Time to the first byte of streams", "s", quantiles("pllm_first_byte_seconds", "deployment", ONE)),
    Panel("Tokens", "short", rate("pllm_tokens_total", "deployment, direction", ONE)),
]

STATE = [
    Panel("On the standby store", "short", {"{{instance}}": "max by (instance) (pllm_state_standby)"}),
    Panel(
        "Switches between stores",
        "short",
        {"to {{to}}: {{reason}}": f"sum by (to, reason) (increase(pllm_state_switches_total{RATE}))"},
    ),
    Panel("Replicas alive", "short", {"alive": "max(pllm_replicas_alive)"}),
    Panel("A decision, as a request sees it", "s", quantiles("pllm_decision_seconds")),
    Panel(
        "Scripts, p99",
        "s",
        {"{{script}}": f"histogram_quantile(0.99, sum by (script, le) (rate(pllm_script_seconds_bucket{RATE})))"},
    ),
    Panel("Script calls", "reqps", rate("pllm_script_seconds_count", "script")),
    Panel(
        "Deadlines missed",
        "reqps",
        {"{{instance}}": f"sum by (instance) (rate(pllm_state_deadline_misses_total{RATE}))"},
    ),
    Panel(
        "Times that the store forgot", "short", {"{{instance}}": "max by (instance) (pllm_state_epoch_changes_total)"}
    ),
    Panel("Event loop lag", "s", quantiles("pllm_event_loop_lag_seconds", "instance")),
    Panel("Memory", "bytes", {"{{instance}}": "max by (instance) (process_resident_memory_bytes)"}),
    Panel("CPU", "percentunit", {"{{instance}}": f"sum by (instance) (rate(process_cpu_seconds_total{RATE}))"}),
]

OVERLOAD = [
    Panel("Sheds load because of", "short", {"{{reason}}": "max by (reason) (pllm_should_shed_load)"}),
    Panel("Refused", "reqps", rate("pllm_errors_total", "code", '{status=~"429|503"}')),
    Panel("Active requests", "short", {"active": "max(pllm_active_requests)"}),
    Panel("Waiting", "short", {"{{model}}": "sum by (model) (pllm_queue_waiting)"}),
    Panel(
        "Out of the queue",
        "reqps",
        {
            "{{model}} granted": f"sum by (model) (rate(pllm_queue_granted_total{RATE}))",
            "{{model}} dropped": f"sum by (model) (rate(pllm_queue_dropped_total{RATE}))",
            "{{model}} refused": f"sum by (model) (rate(pllm_queue_refused_total{RATE}))",
        },
    ),
    Panel("Shed", "reqps", rate("pllm_shed_total", "reason, class")),
    Panel("Time in the queue", "s", quantiles("pllm_queue_wait_seconds", "model")),
    Panel("Retry budget", "short", {"further attempts": "min(pllm_retry_budget)"}),
    Panel("Newest first", "short", {"{{model}}": "max by (model) (pllm_queue_overloaded)"}),
    Panel("Sent again by clients", "reqps", {"again": f"sum(rate(pllm_client_retries_total{RATE}))"}),
    Panel(
        "Calls for a request",
        "short",
        {"calls": f"sum(rate(pllm_attempts_total{RATE})) / sum(rate(pllm_requests_total{RATE}))"},
    ),
]

SPENT, LIMIT = (f"max by (scope) (pllm_budget_{name})" for name in ("spent", "limit"))
TENANTS = [
    Panel("Answered, by class", "reqps", rate("pllm_requests_total", "class")),
    Panel("Tokens a second, by class", "short", rate("pllm_tokens_total", "class, direction")),
    Panel(
        "Cost an hour, by deployment",
        "currencyUSD",
        {"{{deployment}}": f"3600 * sum by (deployment) (rate(pllm_cost_total{RATE}))"},
    ),
    Panel(
        "Cost an hour, by class", "currencyUSD", {"{{class}}": f"3600 * sum by (class) (rate(pllm_cost_total{RATE}))"}
    ),
    Panel("Shed, by class", "reqps", rate("pllm_shed_total", "class")),
    Panel("Failed, by class", "reqps", rate("pllm_requests_total", "class", '{outcome!="success"}')),
    Panel("Refused at their limits", "reqps", rate("pllm_errors_total", "code", '{status="429"}')),
    Panel(
        "Budgets used",
        "percentunit",
        {"{{scope}}": f"topk(10, ({SPENT} + max by (scope) (pllm_budget_reserved)) / ({LIMIT} > 0))"},
        note="Spent and reserved, of the ten budgets of which most is used up in their period.",
    ),
    Panel("Refused over budget", "reqps", rate("pllm_errors_total", "code", '{status="402"}')),
]

DASHBOARDS = {
    "overview": ("PLLM: cluster overview", OVERVIEW),
    "model": ("PLLM: model detail", MODEL),
    "state": ("PLLM: state store", STATE),
    "overload": ("PLLM: load shedding and queue", OVERLOAD),
    "tenants": ("PLLM: tenants and cost", TENANTS),
}


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    column, row = WIDTH * (number % (24 // WIDTH)), HEIGHT * (number // (24 // WIDTH))
    targets = [
        {"refId": chr(65 + index), "expr": expression, "legendFormat": legend, "datasource": SOURCE, "exemplar": True}
        for index, (legend, expression) in enumerate(panel.queries.items())
    ]
    return {
        "id": number + 1,
        "title": panel.title,
        "description": panel.note,
        "type": panel.kind,
        "datasource": SOURCE,
        "gridPos": {"x": column, "y": row, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def dashboard(name: str) -> dict[str, Any]:
    title, panels = DASHBOARDS[name]
    variable = {
        "name": "deployment",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": "label_values(pllm_deployment_limit, deployment)", "refId": "deployments"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
    marks = [
        {"name": mark, "enable": True, "datasource": SOURCE, "expr": expression, "titleFormat": text, "step": "15s"}
        for mark, (expression, text) in ANNOTATIONS.items()
    ]
    return {
        "uid": f"pllm-{name}",
        "title": title,
        "tags": ["pllm"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "5s",
        "time": {"from": "now-30m", "to": "now"},
        "annotations": {"list": marks},
        "templating": {"list": [variable] if name == "model" else []},
        "links": [{"type": "dashboards", "tags": ["pllm"], "title": "PLLM", "asDropdown": True}],
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def rendered(name: str) -> str:
    return json.dumps(dashboard(name), indent=1) + "\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(rendered(name))


if __name__ == "__main__":
    main()
