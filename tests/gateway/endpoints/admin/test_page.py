"""The live page in a real browser, over a real cluster: its content, its updates, and its actions."""

import base64
import hashlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared_state.embedded import EmbeddedStore
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.browser import ENTER, ESCAPE, TAB, Browser, running_browser
from tests.support.cluster import Cluster, ReplicaProcess, deployment, running_cluster

KEY = "key-of-the-page"
CARD = "[data-deployment='{}']"
WIDE, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def page_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    first, second = provider_processes
    models = [
        deployment("main", first, "gpt-4", region="eu", cost={"output_per_million": 100}),
        deployment("org/second", second, "gpt-4"),
        deployment("alone", first, "claude"),
    ]
    router = {"latency_threshold": "8s", "fallbacks": {"claude": ["gpt-4"]}, "circuit_breaker_cooldown": "300s"}
    router |= {"budget": {"amount": 1000, "per": "month"}, "autoscale": {"min_replicas": 3}}
    here = {"region": "eu"}
    with running_cluster(
        store, provider_processes, models, domain="page", auth={"admin_key": KEY}, router=router, server=here
    ) as running:
        yield running


@pytest.fixture
def replica(page_cluster: Cluster) -> Iterator[ReplicaProcess]:
    """Nothing has happened to it."""
    replica = page_cluster.replicas[0]
    key = {"authorization": f"Bearer {KEY}"}
    for provider in page_cluster.providers:
        provider.behave(error_rate=0)
    for name in page_cluster.deployments():
        assert replica.request("POST", f"/v1/admin/deployments/{name}/reset", headers=key).status == 200
    page_cluster.redis.delete(page_cluster.key("events"))
    yield replica
    page_cluster.check()


@pytest.fixture
def page(browser: Browser, replica: ReplicaProcess) -> Browser:
    """Opened with the key, and live."""
    browser.look(*WIDE)
    browser.open(f"{replica.url}/admin")
    browser.run("sessionStorage.clear(); sessionStorage.setItem('pllm-admin-key', arguments[0])", KEY)
    browser.open(f"{replica.url}/admin")
    browser.wait_for_text("#status", "healthy")
    browser.complaints()
    return browser


def label(browser: Browser, deployment_id: str) -> str:
    return browser.text(f"{CARD.format(deployment_id)} .badge")


def fill_in(browser: Browser, reason: str) -> None:
    browser.type("#action-reason", reason)
    browser.type("#action-actor", "ann")


def test_page_needs_no_key_and_holds_no_data(replica: ReplicaProcess) -> None:
    answer = replica.get("/admin", {"host": "localhost:9"})

    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "gpt-4" not in answer.text
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", answer.text)
    assert len(answer.body) < 60_000


def test_only_its_own_script_may_run_and_no_page_may_frame_it(replica: ReplicaProcess) -> None:
    answer = replica.get("/admin")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    script = re.search(r"<script>(.*)</script>", answer.text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()

    assert (policy["default-src"], policy["script-src"], policy["frame-ancestors"]) == (
        "'none'", f"'sha256-{digest}'", "'none'",
    )  # fmt: skip
    assert answer.headers["x-frame-options"] == "DENY"


def test_every_deployment_is_shown_with_its_counts(page: Browser, replica: ReplicaProcess) -> None:
    for _ in range(6):
        replica.chat()
    wait_until(lambda: "6 calls in the last minute" in page.text("#models"), lambda: page.text("#models"))

    assert [label(page, name) for name in ("main", "org/second", "alone")] == ["closed"] * 3
    assert page.run("return document.querySelectorAll('.card svg rect').length") > 0
    assert page.run("return document.querySelector('.card path').getAttribute('d').length") > 10
    assert "falls back to gpt-4" in page.text("#models")
    assert re.search(r"main \d+ %", page.text(".legend"))
    assert "r0-" in page.text("#replicas")
    assert "r1-" in page.text("#replicas")
    assert page.complaints() == []


def test_money_places_and_wanted_replicas_are_shown(page: Browser) -> None:
    page.wait_for_text("#budgets [data-scope=domain]", "1,000 left")
    page.wait_for_text("#summary", "all beating, 3 desired")

    assert "of 1,000 spent" in page.text("#budgets")
    assert page.text("#source").endswith(" in eu")
    assert page.text(f"{CARD.format('main')} .why").startswith("eu")
    assert page.text(f"{CARD.format('alone')} .why") == ""
    assert page.complaints() == []


def test_usage_of_today_is_shown_by_tenant(page: Browser, replica: ReplicaProcess) -> None:
    assert replica.chat("gpt-4").status == 200
    page.wait_for_text("#usage [data-tenant=anonymous]", "tokens in")

    assert "errors" in page.text("#usage")
    assert page.complaints() == []


def test_last_error_and_missing_endpoints_are_shown_on_the_card(page: Browser, page_cluster: Cluster) -> None:
    at_ms = int(page_cluster.redis.hget(page_cluster.key("global"), "clock_ms") or 0)
    page_cluster.redis.set(page_cluster.key("last_error:alone"), f"{at_ms} <b>connection refused</b>")
    page_cluster.redis.set(page_cluster.key("last_error:main"), f"{at_ms - 4_000_000} long ago")
    page_cluster.redis.hset(page_cluster.key("deployment:alone"), "unsupported:embeddings", at_ms + 600_000)
    page.wait_for_text(f"{CARD.format('alone')} .error", "<b>connection refused</b>")
    page.wait_for_text(f"{CARD.format('alone')} .why", "no endpoint for embeddings")

    assert page.text(f"{CARD.format('main')} .error") == ""
    assert page.complaints() == []


def test_replica_whose_file_is_not_in_force_is_noted(page: Browser, replica: ReplicaProcess, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(replica.config.read_text().replace("latency_threshold: 8s", "latency_threshold: 7s"))
    behind = ReplicaProcess("behind", other, tmp_path / "behind.log")
    try:
        behind.wait_until_ready()
        page.wait_for_text("#trouble", "its file is not the configuration in force")
        page.wait_for_text("#replicas", "behind")
    finally:
        behind.stop()


def test_provider_that_dies_is_seen(page: Browser, page_cluster: Cluster, replica: ReplicaProcess) -> None:
    for provider in page_cluster.providers:
        provider.behave(error_rate=1)
    for _ in range(5):
        replica.chat("claude")
    wait_until(lambda: label(page, "alone") == "open", lambda: page.text("#models"))

    page.wait_for_text("#trouble", "alone")
    page.wait_for_text("#trouble", "open: consecutive failures, probes in")
    page.wait_for_text("#events", "closed → open · consecutive failures")
    assert "no deployment takes requests; fallback gpt-4" in page.text("#trouble")
    assert page.text("#status") != "healthy"


def test_action_is_done_once_it_is_confirmed_and_shown_with_its_reason(page: Browser, page_cluster: Cluster) -> None:
    page.click(f"{CARD.format('org/second')} [data-action=drain]")
    page.click("#action-confirm")  # a reason is missing
    is_open = page.run("return document.querySelector('#action-dialog').open")
    before = page_cluster.state("org/second")
    fill_in(page, "new <b>certificate</b>")
    page.click("#action-confirm")
    page.wait_for_text(CARD.format("org/second"), "disabled")

    assert (is_open, before, page_cluster.state("org/second")) == (True, "closed", "disabled")
    page.wait_for_text("#events", "drain by ann: new <b>certificate</b>")
    assert page.run("return document.querySelector('#action-dialog').open") is False


def test_action_that_is_not_confirmed_is_not_done(page: Browser, page_cluster: Cluster) -> None:
    page.click(f"{CARD.format('main')} [data-action=open]")
    fill_in(page, "by mistake")
    page.press(ESCAPE)
    wait_until(lambda: not page.run("return document.querySelector('#action-dialog').open"))

    assert page_cluster.state("main") == "closed"


def test_everything_is_done_by_keyboard(page: Browser, page_cluster: Cluster) -> None:
    page.run("document.querySelector('.skip').focus()")
    focused = "return document.activeElement.getAttribute('aria-label')"
    reached = []
    while "Open main" not in reached:
        page.press(TAB)
        reached.append(page.run(focused))
        assert len(reached) < 20, reached
    outline = page.run("return getComputedStyle(document.activeElement).outlineStyle")
    page.press(ENTER)
    page.press(*"why", TAB, *"ann", TAB, TAB, TAB, ENTER)
    page.wait_for_text(CARD.format("main"), "forced open")

    assert outline == "solid"
    assert page_cluster.deployment("main")["open_reason"] == "open by ann"


def test_page_prompts_for_a_key_and_reports_a_wrong_one(browser: Browser, replica: ReplicaProcess) -> None:
    browser.look(*WIDE)
    browser.open(f"{replica.url}/admin")
    browser.run("sessionStorage.clear()")
    browser.open(f"{replica.url}/admin")
    browser.wait_for_text("#key-error", "needs the admin key")
    browser.type("#key-input", f"wrong{ENTER}")
    browser.wait_for_text("#key-error", "refuses this key")
    browser.type("#key-input", f"{KEY}{ENTER}")
    browser.wait_for_text("#status", "healthy")

    assert browser.run("return [localStorage.length, document.cookie]") == [0, ""]


def test_silent_gateway_is_seen_and_found_again(page: Browser, replica: ReplicaProcess) -> None:
    replica.signal(signal.SIGSTOP)
    try:
        page.wait_for_text("#status", "no connection")
        is_dimmed = page.run("return document.body.classList.contains('stale')")
    finally:
        replica.signal(signal.SIGCONT)
    page.wait_for_text("#source", "live from r0")

    assert is_dimmed is True
    assert page.run("return document.body.classList.contains('stale')") is False


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("size", [WIDE, PHONE, (320, 568)])
def test_nothing_is_wider_than_the_window(page: Browser, size: tuple[int, int], is_dark: bool) -> None:
    page.look(*size, is_dark=is_dark)
    widths = page.run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    page.click(f"{CARD.format('main')} [data-action=open]")
    box = page.run(
        "const b = document.querySelector('#action-dialog').getBoundingClientRect(); return [b.left, b.right]"
    )
    background = page.run("return getComputedStyle(document.body).backgroundColor")
    page.press(ESCAPE)

    assert widths == [size[0], size[0]]
    assert box[0] >= 0
    assert box[1] <= size[0]
    assert (background == "rgb(14, 17, 23)") is is_dark
