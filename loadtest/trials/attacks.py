"""What attacks on its resources do to a replica: `make attacks` writes docs/attacks.md; ARGS="slow idle" takes those
attacks whose names contain one of the words.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from loadtest.trials.attack_clients import ATTACKS
from loadtest.trials.attack_providers import ANSWERS
from loadtest.trials.attack_rig import BODY_MEMORY, Seen, attacked, replica

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


def run(name: str, folder: Path) -> Seen:
    hostile = name.removeprefix(BY_PROVIDER) if name.startswith(BY_PROVIDER) else ""
    descriptors = DESCRIPTORS if name == "idle_connections" else None
    with replica(folder, descriptors, hostile) as watched:
        return attacked(watched, "hostile_provider" if hostile else name)


def held(name: str, seen: Seen) -> bool:
    growth = 3 * BODY_MEMORY / 1_048_576 if name == "held_bodies" else GROWTH_MOST_MIB
    is_calm = seen.livez_ms < LIVEZ_MOST_MS and seen.peak_mib - seen.before_mib <= growth
    return is_calm and seen.statuses.keys() == {"200"} and seen.state == "CLOSED"


def row(name: str, seen: Seen) -> str:
    calls = ", ".join(f"{count} x {status}" for status, count in sorted(seen.statuses.items()))
    if name == "idle_connections":
        name = f"idle_connections, {DESCRIPTORS} descriptors"
    memory = f"{seen.before_mib:.0f}, {seen.peak_mib:.0f}"
    client = f"{calls}; {seen.slowest_call_ms:.0f} ms"
    cells = (name.replace("_", " "), seen.sent, memory, f"{seen.livez_ms:.0f} ms", client, seen.state.lower(), "")
    return f"| {' | '.join(cells)}"


def rows(chosen: Sequence[str]) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="pllm-attacks-") as folder:
        for name in chosen:
            seen = run(name, Path(folder))
            yield row(name, seen) + ("holds |" if held(name, seen) else "**does not hold** |")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.trials.attacks", description="Attacks on a replica's resources."
    )
    parser.add_argument("words", nargs="*", help="take attacks whose names contain one of these")
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
