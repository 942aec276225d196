"""Debian's Prometheus, scraping real replicas once a second with the project's own configuration and rules."""

import contextlib
import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from shared_state.embedded import die_with_parent
from tests.loadtest.process import wait_until
from tests.support.ports import free_port
from tests.support.programs import program

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
EXEMPLARS = "--enable-feature=exemplar-storage"


class Prometheus:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: str) -> Any:
        """Raises what urllib raises, with Prometheus's own words for an expression that does not parse."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def series(self, expression: str) -> list[Any]:
        found: list[Any] = self.ask("query", query=expression)["result"]
        return found

    def is_scraping(self, count: int) -> bool:
        with contextlib.suppress(OSError):
            return [target["health"] for target in self.ask("targets")["activeTargets"]] == ["up"] * count
        return False


@contextlib.contextmanager
def running_prometheus(folder: Path, ports: Sequence[int]) -> Iterator[Prometheus]:
    """The configuration of the project, but for where the replicas are and how often they are asked. Skips
    the test where it is missing.
    """
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus/alerts.yml")]
    (job,) = config["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in ports]}]
    file, port = folder / "prometheus.yml", free_port()
    file.write_text(yaml.safe_dump(config))
    command = [program("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}", EXEMPLARS]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log, preexec_fn=die_with_parent
        )
    try:
        prometheus = Prometheus(port)
        wait_until(lambda: prometheus.is_scraping(len(ports)), lambda: (folder / "prometheus.log").read_text())
        yield prometheus
    finally:
        process.terminate()
        process.wait(30)
