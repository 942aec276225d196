"""`make bench-peers`: compares our gateway with others, each installed from its package into its own environment.

It needs wrk, nginx and two cores, node and npm for Portkey, and the package indexes for the first run. The report names
each gateway that cannot be installed or started, with the reason.
"""

import argparse
import datetime
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from loadtest.bench.rig import Bench
from loadtest.load.flag_texts import parse_file
from loadtest.peers.figures import Results, Trouble
from loadtest.peers.gateways import ALL, OURS, Peer, PeerTrouble, install, missing_tools
from loadtest.peers.measures import OUTAGES, measure_closed, measure_outage, measure_plain, measure_streams
from loadtest.peers.report import Run, render
from loadtest.report.output import Output

PARTS = ("plain", "streams", "closed", "outage")
REPLICAS = (1, 2, 4)
QUICK_S = 2.0
# A larger number is a typing error: each turn takes minutes, and all replicas of a gateway share two cores.
TURNS_MOST, SECONDS_MOST, REPLICAS_MOST = 100, 600, 16
INTERRUPTED = 130
_Figure = TypeVar("_Figure")


def parse_flags(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest.peers", description=__doc__)
    add = parser.add_argument
    add("--only", choices=ALL, nargs="+", metavar="NAME", help=f"these gateways: {', '.join(ALL)}")
    add("--parts", choices=PARTS, nargs="+", default=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    add("--turns", type=int, default=2, help="turns of the parts on one core; an outage has one")
    add("--seconds", type=float, default=3, help="duration of each measure on one core")
    add("--replicas", type=int, nargs="+", default=REPLICAS, help="numbers of replicas in an outage (default: 1 2 4)")
    add("--quick", action="store_true", help="one turn of two seconds, one replica: a check that all works")
    add("--cache", type=Path, default=Path(".peers"), metavar="DIR", help="folder of the installed gateways")
    add("--out", type=parse_file, metavar="FILE", help="also write the report to this file")
    options = parser.parse_args(arguments)
    if options.quick:
        options.turns, options.seconds, options.replicas = 1, QUICK_S, [1]
    for flag, values, most in (
        ("--turns", [options.turns], TURNS_MOST),
        ("--seconds", [options.seconds], SECONDS_MOST),
        ("--replicas", options.replicas, REPLICAS_MOST),
    ):
        if not all(1 <= value <= most for value in values):
            parser.error(f"{flag}: from 1 to {most}")
    options.replicas = sorted(set(options.replicas))
    return options


class Suite:
    """Measures the gateways in turn and collects the results."""

    def __init__(self, bench: Bench, cache: Path, peers: Sequence[Peer]) -> None:
        self.results = Results()
        self.bench = bench
        self._cache = cache.resolve()
        self.peers = list(peers)
        self._began = time.monotonic()

    def install(self) -> None:
        for peer in tuple(self.peers):
            if self._try(peer, "everything", partial(install, peer, self._cache)) is None:
                self.peers.remove(peer)

    def measure(self, options: argparse.Namespace) -> None:
        seconds = options.seconds
        for turn in range(1, options.turns + 1):
            for peer in self.peers:
                if "plain" in options.parts:
                    self._turn(peer, f"plain requests, turn {turn}", measure_plain, self.results.plain, seconds)
                if "streams" in options.parts:
                    self._turn(peer, f"streams, turn {turn}", measure_streams, self.results.streams, seconds)
                if "closed" in options.parts:
                    self._closed(peer, turn, seconds)
        if "outage" in options.parts:
            for kind in OUTAGES:
                for count in options.replicas:
                    self._outages(kind, count)

    def _turn(
        self,
        peer: Peer,
        what: str,
        measure: Callable[[Bench, Peer, Path, float], _Figure],
        figures: dict[str, list[_Figure]],
        seconds: float,
    ) -> None:
        figure = self._try(peer, what, partial(measure, self.bench, peer, self._home(peer), seconds))
        if figure is not None:
            figures.setdefault(peer.name, []).append(figure)

    def _closed(self, peer: Peer, turn: int, seconds: float) -> None:
        measure = partial(measure_closed, self.bench, peer, self._home(peer), seconds)
        for callers, figure in (self._try(peer, f"closed loop, turn {turn}", measure) or {}).items():
            self.results.closed.setdefault((peer.name, callers), []).append(figure)

    def _outages(self, kind: str, replicas: int) -> None:
        for peer in self.peers:
            if peer.is_ours and peer is not OURS:
                continue  # a variant of ours decides like ours
            what = f"a provider {kind}, {replicas} replica{'s' if replicas > 1 else ''}"
            measure = partial(measure_outage, self.bench, peer, self._home(peer), OUTAGES[kind], replicas)
            outage = self._try(peer, what, measure)
            if outage is not None:
                self.results.outages[peer.name, kind, replicas] = outage

    def _try(self, peer: Peer, what: str, act: Callable[[], _Figure]) -> _Figure | None:
        print(f"{time.monotonic() - self._began:4.0f} s  {peer.title}: {what}", file=sys.stderr, flush=True)
        try:
            return act()
        # The bench itself raises SystemExit; the others come from a gateway that dies while it is measured, or from a
        # disk. The results of the other gateways must not be lost.
        except (PeerTrouble, SystemExit, OSError, subprocess.SubprocessError, ValueError) as trouble:
            print(f"        {trouble}", file=sys.stderr, flush=True)
            self.results.troubles.append(Trouble(f"{peer.title}, {what}", " ".join(str(trouble).split())))
            return None

    def _home(self, peer: Peer) -> Path:
        return self._cache / peer.name


def describe_machine() -> str:
    named = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    cpu = named[1] if named else platform.machine()
    busy = f"load average {os.getloadavg()[0]:.1f} before"
    return f"{os.cpu_count()} cores ({cpu}), Linux {platform.release()}, Python {platform.python_version()}; {busy}"


def main(arguments: Sequence[str]) -> int:
    options = parse_flags(arguments)
    peers = [ALL[name] for name in ALL if not options.only or name in options.only]
    missing = missing_tools(peers)
    if missing or (os.cpu_count() or 1) < 2:
        raise SystemExit(
            f"make bench-peers needs two cores and {', '.join(missing) or 'nothing else'} "
            "(Debian: wrk, nginx-light, nodejs, npm; only Portkey needs the last two, and --only can leave it out)"
        )
    run = Run(
        command=shlex.join(["python", "-m", "loadtest.peers", *arguments]),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=describe_machine(),
        turns=options.turns,
        seconds=options.seconds,
        replicas=options.replicas,
    )
    with tempfile.TemporaryDirectory() as folder:
        suite = Suite(Bench(Path(folder)), options.cache, peers)
        try:
            suite.install()
            with suite.bench.environment():
                suite.measure(options)
        except KeyboardInterrupt:
            run = msgspec.structs.replace(run, is_interrupted=True)
    is_kept = publish(render(run, peers, suite.results), options.out)
    return INTERRUPTED if run.is_interrupted else int(not is_kept)


def publish(report: str, file: str | None) -> bool:
    """Writes the report to the file and prints it, even if one of the two fails. Returns whether the file is there."""
    is_kept = True
    if file is not None:
        try:
            Path(file).write_text(report)
        except OSError as error:
            print(f"The report could not be written: {error}", file=sys.stderr)
            is_kept = False
    Output().print(report.rstrip("\n"))
    return is_kept
