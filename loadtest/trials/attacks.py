"""Measures the effect of attacks on a replica's resources. `make attacks` writes docs/attacks.md; ARGS="slow idle" runs
the attacks whose names contain one of the words.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from loadtest.trials.attack_clients import ATTACKS
from loadtest.trials.attack_providers import ANSWERS
from loadtest.trials.attack_rig import BODY_MEMORY, Effect, attacked, replica

LIVEZ_MOST_MS = 1000.0
GROWTH_MOST_MIB = 64.0
DESCRIPTORS = 300
BY_PROVIDER = "provider: "

_HEAD = """\
# Attacks on a replica's resources

One replica, a healthy provider, and a client that makes up to ten calls a second, each on a new connection, while
another process attacks. `/livez` is fetched every 50 ms. `make attacks` wrote this table on a machine of two cores that
also ran the store, the provider, the attacker and other work. `server.max_body_memory` is 128 MiB, a quarter of a
container of 512 MiB.

A row holds when `/livez` answered within 1 s, memory grew by 64 MiB at most (by three times `max_body_memory` for held
bodies), no call of the normal client failed and its breaker is closed.

| attack | sent | memory before, peak (MiB) | worst /livez | normal client: calls, slowest | breaker | verdict |
|---|---|---:|---:|---|---|---|
"""


def names() -> list[str]:
    clients = [name for name in ATTACKS if name != "hostile_provider"]
    return [*clients, *(BY_PROVIDER + name for name in ANSWERS)]


def run(name: str, folder: Path) -> Effect:
    hostile = name.removeprefix(BY_PROVIDER) if name.startswith(BY_PROVIDER) else ""
    descriptors = DESCRIPTORS if name == "idle_connections" else None
    with replica(folder, descriptors, hostile) as watched:
        return attacked(watched, "hostile_provider" if hostile else name)


def held(name: str, effect: Effect) -> bool:
    growth = 3 * BODY_MEMORY / 1_048_576 if name == "held_bodies" else GROWTH_MOST_MIB
    is_calm = effect.livez_ms < LIVEZ_MOST_MS and effect.peak_mib - effect.before_mib <= growth
    return is_calm and effect.statuses.keys() == {"200"} and effect.state == "CLOSED"


def row(name: str, effect: Effect) -> str:
    calls = ", ".join(f"{count} x {status}" for status, count in sorted(effect.statuses.items()))
    if name == "idle_connections":
        name = f"idle_connections, {DESCRIPTORS} descriptors"
    memory = f"{effect.before_mib:.0f}, {effect.peak_mib:.0f}"
    client = f"{calls}; {effect.slowest_call_ms:.0f} ms"
    cells = (name.replace("_", " "), effect.sent, memory, f"{effect.livez_ms:.0f} ms", client, effect.state.lower(), "")
    return f"| {' | '.join(cells)}"


def rows(chosen: Sequence[str]) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="pllm-attacks-") as folder:
        for name in chosen:
            effect = run(name, Path(folder))
            yield row(name, effect) + ("holds |" if held(name, effect) else "**does not hold** |")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.trials.attacks", description="Attacks on a replica's resources."
    )
    parser.add_argument("words", nargs="*", help="run the attacks whose names contain one of these")
    parser.add_argument("--out", type=Path, help="a Markdown file to write")
    options = parser.parse_args(arguments)
    chosen = [name for name in names() if not options.words or any(word in name for word in options.words)]
    lines = []
    for line in rows(chosen):
        lines.append(line)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    if options.out is not None:
        options.out.write_text(_HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
