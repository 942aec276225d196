"""docs/runbook.md, tried: its commands, in the trouble they are for, show what they are said to show, and its settings
are accepted.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from gateway.configuration.settings import parse
from shared_state.embedded import EmbeddedStore
from tests.cluster.conftest import heal
from tests.loadtest.process import ProviderProcess, wait_until
from tests.support.cluster import Cluster, deployment, running_cluster
from tests.support.programs import program

TEXT = (Path(__file__).resolve().parents[2] / "docs/runbook.md").read_text()
MODELS = "model_list: [{id: gpt-4-a, model_name: gpt-4}, {id: spare, model_name: spare}]\n"


class Command(NamedTuple):
    chapter: str
    line: str
    shows: tuple[str, ...]


def blocks(language: str) -> list[tuple[str, str]]:
    """Chapter and text of each."""
    found = []
    for chapter in re.split(r"^## ", TEXT, flags=re.MULTILINE):
        title = chapter.partition("\n")[0]
        for body in re.findall(rf"^ *```{language}\n(.*?)^ *```", chapter, flags=re.MULTILINE | re.DOTALL):
            found.append((title, body))
    return found


def commands() -> list[Command]:
    found = []
    for chapter, body in blocks("sh"):
        for line in body.splitlines():
            command, _, shown = line.strip().partition("     # ")
            if command.startswith("curl"):
                found.append(Command(chapter, command, tuple(shown.split())))
    return found


@pytest.fixture(scope="module")
def sick_cluster(store: EmbeddedStore, provider_processes: list[ProviderProcess]) -> Iterator[Cluster]:
    """One model's only deployment has tripped; the other's is well."""
    first, second, *_ = provider_processes
    with running_cluster(
        store,
        provider_processes,
        [deployment("gpt-4-a", first, "gpt-4"), deployment("spare", second, "spare")],
        domain="sick",
        router={"load_shedding": {"min_healthy_ratio": 0.6}, "autoscale": {}},
    ) as running:
        heal(provider_processes)
        first.behave(error_rate=1)
        for _ in range(5):
            running.replicas[0].chat("gpt-4")
        for _ in range(5):
            running.replicas[0].chat("spare")
        wait_until(lambda: running.replicas[1].stats()["load_balancer"]["gpt-4"]["circuit_open"])
        yield running
    heal(provider_processes)  # not every module that comes next begins with that


@pytest.mark.parametrize("command", commands(), ids=lambda c: f"{c.chapter}: {c.line[:60]}")
def test_command_shows_what_the_page_promises(sick_cluster: Cluster, command: Command) -> None:
    done = subprocess.run(
        [program("bash", "curl"), "-c", command.line],
        env={"G": sick_cluster.replicas[1].url, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert command.shows
    for word in command.shows:
        assert word in done.stdout


@pytest.mark.parametrize(("chapter", "section"), blocks("yaml"))
def test_setting_is_accepted(chapter: str, section: str) -> None:
    given = yaml.safe_load(section)

    assert parse(MODELS + yaml.safe_dump(given), {}) != parse(MODELS, {})


def test_every_command_of_the_page_is_run() -> None:
    written = [line for line in TEXT.splitlines() if "curl " in line]

    assert len(commands()) == len(written) == 21
    assert re.findall(r"^ *```(?!(?:sh|yaml)?$).*", TEXT, flags=re.MULTILINE) == []


def test_every_alert_is_answered() -> None:
    rules = (Path(__file__).resolve().parents[2] / "deploy/prometheus/alerts.yml").read_text()
    alerts = set(re.findall(r"alert: (\w+)", rules))

    assert alerts <= set(re.findall(r"`(Pllm\w+)`", TEXT))
