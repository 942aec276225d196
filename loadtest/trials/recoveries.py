"""Measures from which transient faults of a provider a client recovers, with and without the gateway. `make recoveries`
prints the tables; `--out FILE` writes them.

One deployment, default settings, one fault: the first call fails, the next one would succeed. Every trial has its own
client and deployment, so that no trial is affected by another's fault. Claude Code comes from npm into .peers/; without
npm, its column is left out.
"""

import argparse
import contextlib
import datetime
import functools
import os
import platform
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import yaml

from loadtest.cluster.packages import PackageTrouble, install
from loadtest.cluster.programs import free_port
from loadtest.provider.behaviour import Behaviour
from loadtest.provider.dialects import words
from loadtest.trials import claude_code, outage
from loadtest.trials.claude_code import ClaudeCode
from loadtest.trials.sdks import SDKS, Client

AT_ONCE = 4  # lanes at once: most of a trial is the pause before a retry
TRIALS, QUICK_TRIALS = 12, 2
REFUSED_S = 0.25  # less than the 0.375 s after which an official SDK retries at the earliest
CONTROL_S = 5.0
ANSWER = "".join(words("fake", Behaviour().chunks))
WAYS = ("direct", "through")
CLAUDE_CODE = "Claude Code"
ABOUT = """\
# Recoveries from one passing fault

`make recoveries` writes this. One deployment, default settings, one fault: the first call fails, the next one would
succeed. The client has called once before. **Recovered** is a call that ends in the whole answer. Official SDKs of
OpenAI (chat, responses) and Anthropic (messages) with their own settings.
"""
Connect = Callable[[str], Client]
"""Makes a client from a base URL."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    once: dict[str, Any] = {}
    """The provider's behaviour from the failing call on."""
    settings: dict[str, Any] = {}
    """The provider's behaviour in all calls."""
    refused_s: float = 0.0


STATUSES = (500, 502, 503, 529, 408, 409)
FAULTS = (
    *(Fault(name=f"status {status}", once={"fail_first": 1, "error_status": status}) for status in STATUSES),
    Fault(name="429, retry-after: 1", once={"fail_first": 1, "error_status": 429}, settings={"retry_after_s": 1.0}),
    Fault(name=f"connections refused for {REFUSED_S:g} s", refused_s=REFUSED_S),
    Fault(name="new connection closed unanswered", once={"close_first": 1}, settings={"keep_alive": False}),
    Fault(name="kept connection closed unanswered", once={"close_first": 1}),
)
CALM = {"fail_first": 0, "close_first": 0, "keep_alive": True, "retry_after_s": None}


class Lane(msgspec.Struct, frozen=True):
    """All trials of one client in one way. Lanes share no process, so they run concurrently."""

    client: str
    is_stream: bool
    way: str

    @property
    def column(self) -> str:
        return f"{self.client}, {'stream' if self.is_stream else 'plain'}"


class Trial(msgspec.Struct, frozen=True):
    seconds: float
    error: str | None


Results = dict[tuple[str, str, str], list[Trial]]
"""By fault, column and way."""


def run_lane(lane: Lane, faults: Sequence[Fault], trials: int, connect: Connect) -> Results:
    provider = free_port()
    with contextlib.ExitStack() as stack:
        command = (sys.executable, "-P", "-m", "loadtest.provider", "--port", str(provider), "--name", "fake")
        stack.enter_context(outage.running(*command, port=provider))
        port = provider
        if lane.way == "through":
            port = stack.enter_context(gateway(provider, lane.client, len(faults) * trials))
        models = (f"model-{number}" for number in range(len(faults) * trials))
        return {
            (fault.name, lane.column, lane.way): [
                run_trial(provider, fault, connect(f"http://127.0.0.1:{port}"), next(models), lane.is_stream)
                for _ in range(trials)
            ]
            for fault in faults
        }


def run_trial(provider: int, fault: Fault, client: Client, model: str, is_stream: bool) -> Trial:
    control(provider, "/control", {**CALM, **fault.settings}, "PATCH")
    with client:
        before = requests(provider)
        client.call(model, is_stream)
        if requests(provider) != before + 1:
            raise SystemExit("One call makes more than one request, so another request could meet the fault.")
        control(provider, "/control", fault.once, "PATCH")
        if fault.refused_s:
            control(provider, "/control/refuse", {"seconds": fault.refused_s}, "POST")
        began_s, error = time.monotonic(), None
        try:
            text = client.call(model, is_stream)
        except Exception as caught:  # SDKs also raise errors of their HTTP libraries
            error = f"{type(caught).__name__}: {caught}"
        else:
            error = None if text == ANSWER else f"not the whole answer: {text[:50]!r}"
        trial = Trial(time.monotonic() - began_s, error)
    behaviour = control(provider, "/control", {}, "PATCH")
    if behaviour["fail_first"] or behaviour["close_first"]:
        raise SystemExit(f"No call met the fault {fault.name!r}: {trial}")
    return trial


def control(provider: int, path: str, body: object, method: str) -> dict[str, Any]:
    """Calls the provider's control endpoint. Returns its behaviour."""
    url = f"http://127.0.0.1:{provider}{path}"
    request = urllib.request.Request(url, msgspec.json.encode(body), method=method)
    with urllib.request.urlopen(request, timeout=CONTROL_S) as answer:
        behaviour: dict[str, Any] = msgspec.json.decode(answer.read())["behaviour"]
        return behaviour


def requests(provider: int) -> int:
    """Returns the number of requests that the provider has received."""
    with urllib.request.urlopen(f"http://127.0.0.1:{provider}/control", timeout=CONTROL_S) as answer:
        count: int = msgspec.json.decode(answer.read())["counts"]["requests"]
        return count


@contextlib.contextmanager
def gateway(provider: int, client: str, models: int) -> Iterator[int]:
    """Runs `pllm serve` with its embedded store and one deployment for each model. Yields its port."""
    kind = "openai" if client in ("chat", "responses") else "anthropic"
    target = {"type": kind, "base_url": f"http://127.0.0.1:{provider}/v1", "api_key": "none"}
    entries = [{"id": f"d-{n}", "model_name": f"model-{n}", "provider": target} for n in range(models)]
    with tempfile.TemporaryDirectory() as folder:
        file, port = Path(folder) / "gateway.yaml", free_port()
        file.write_text(yaml.safe_dump({"model_list": entries}))
        command = (sys.executable, "-P", "-m", "gateway", "serve", "--config", str(file), "--port", str(port))
        with outage.running(*command, port=port):
            yield port


def render(results: Results, trials: int, about: str = ABOUT) -> str:
    """Returns two tables: recovered calls, and the seconds they took; each cell is direct / through."""
    faults = list(dict.fromkeys(fault for fault, _, _ in results))
    columns = list(dict.fromkeys(column for _, column, _ in results))

    def table(cell: Callable[[str, str], str]) -> list[str]:
        rows = [" | ".join((fault, *(cell(fault, column) for column in columns))) for fault in faults]
        return [
            f"| fault | {' | '.join(columns)} |",
            "|---" * (len(columns) + 1) + "|",
            *(f"| {row} |" for row in rows),
        ]

    def recovered(fault: str, column: str) -> str:
        return " / ".join(str(sum(not trial.error for trial in results[fault, column, way])) for way in WAYS)

    def seconds(fault: str, column: str) -> str:
        return " / ".join(f"{median(trial.seconds for trial in results[fault, column, way]):.1f}" for way in WAYS)

    errors = {
        f"* {fault}, {column}, {way}: {trial.error}"
        for (fault, column, way), found in results.items()
        for trial in found
        if trial.error
    }
    lines = [about, f"Recovered of {trials}, direct / through:", "", *table(recovered), ""]
    lines += ["Seconds until the call ended, median, direct / through:", "", *table(seconds)]
    lines += ["", "What the clients that did not recover got:", "", *sorted(errors)] if errors else []
    return "\n".join(lines) + "\n"


def clients() -> tuple[dict[str, Connect], str]:
    """Returns the clients that can be measured here, and a note about Claude Code."""
    connects: dict[str, Connect] = dict(SDKS)
    try:
        program = claude_code.program(install(claude_code.PACKAGE))
    except PackageTrouble as trouble:
        return connects, f"{CLAUDE_CODE} is left out: {trouble}."
    connects[CLAUDE_CODE] = functools.partial(ClaudeCode, program=program)
    return connects, f"{CLAUDE_CODE} is release {claude_code.RELEASE}; its second turn meets the fault."


def lanes_of(connects: Mapping[str, Connect]) -> list[Lane]:
    """Returns the lanes. Claude Code has no plain calls."""
    forms = {name: (True,) if name == CLAUDE_CODE else (False, True) for name in connects}
    return [Lane(name, is_stream, way) for name in connects for is_stream in forms[name] for way in WAYS]


def measured() -> str:
    cpus, system = os.cpu_count(), f"{platform.system()} {platform.release()}"
    return f"Measured on {datetime.date.today()}: {cpus} cores, {system}, Python {platform.python_version()}."


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.trials.recoveries", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the tables there")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_TRIALS} trials for {TRIALS}; no file")
    parser.add_argument(
        "--fault", action="append", choices=[fault.name for fault in FAULTS], help="only this one; no file"
    )
    parser.add_argument("--client", action="append", choices=[*SDKS, CLAUDE_CODE], help="only this one; no file")
    options = parser.parse_args(arguments)
    trials = QUICK_TRIALS if options.quick else TRIALS
    faults = [fault for fault in FAULTS if not options.fault or fault.name in options.fault]
    connects, note = clients()
    lanes = [lane for lane in lanes_of(connects) if not options.client or lane.client in options.client]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda lane: run_lane(lane, faults, trials, connects[lane.client]), lanes)
        results = {key: value for part in found for key, value in part.items()}
    text = render(results, trials, f"{ABOUT}{note}\n\n{measured()}\n")
    print(text)
    if options.out and not (options.quick or options.fault or options.client):
        options.out.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
