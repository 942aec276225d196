"""The hardware that a load needs, from the measured cost of a request: `python -m loadtest.bench.capacity_model`.

A cell is a set of replicas and domains that know each other. Every replica sends a heartbeat once a second in every
domain, which limits the size of a cell. A larger load needs more cells, with a load balancer in front of them.
"""

import argparse
import math
from collections.abc import Iterator

import msgspec

LOADS = (1_000, 10_000, 100_000, 1_000_000)
DOMAINS_MOST = 32  # as `gateway.configuration.rules` has it
HOURS = 730  # in a month


class Costs(msgspec.Struct, frozen=True):
    """Costs of a request and a heartbeat; the last two fields are assumptions, the others are measured."""

    gateway_us: float
    store_us: float
    beat_us: float
    store_bytes: float
    busy: float  # share of a core that the planned load may use
    core_hour: float


class Plan(msgspec.Struct, frozen=True):
    """The hardware for a load. Each replica has one core, and each domain one core of the store."""

    load: int
    cells: int
    replicas: int  # of one cell
    domains: int  # of one cell
    beats: float  # share of a store core for heartbeats
    network_mib: float
    cores: int
    month: float


def plan(load: int, costs: Costs) -> Plan:
    """Returns the plan with the fewest cells. A store core serves decisions, and a heartbeat of each replica of the
    cell.
    """
    cells = 1
    while True:
        part = load / cells
        replicas = max(2, math.ceil(part * costs.gateway_us / 1e6 / costs.busy))
        beats = replicas * costs.beat_us / 1e6
        left = costs.busy - beats
        domains = math.ceil(part * costs.store_us / 1e6 / left) if left > 0 else DOMAINS_MOST + 1
        if domains <= DOMAINS_MOST:
            cores = cells * (replicas + domains)
            network = load * costs.store_bytes / 2**20
            return Plan(load, cells, replicas, domains, beats, network, cores, cores * HOURS * costs.core_hour)
        cells += 1


def table(costs: Costs) -> Iterator[str]:
    heads: tuple[str, ...] = ("requests/s", "cells", "of each: replicas (cores)", "domains (store cores)")
    heads += ("heartbeats, of a store core", "to the stores", "cores in all", "a month")
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for load in LOADS:
        found = plan(load, costs)
        size = f"{found.load:,} | {found.cells} | {found.replicas} | {found.domains} | {found.beats:.1%}"
        yield f"| {size} | {found.network_mib:,.0f} MiB/s | {found.cores:,} | {found.month:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.capacity_model", description=__doc__)
    for flag, default, what in (
        ("--gateway-us", 280.0, "CPU time of a request in the gateway"),
        ("--store-us", 120.0, "CPU time of a request in the store"),
        ("--beat-us", 200.0, "CPU time of a heartbeat in the store"),
        ("--store-bytes", 950.0, "bytes of a request to the store and back"),
        ("--busy", 0.6, "share of a core that may be used"),
        ("--core-hour", 0.04, "price of a core for an hour"),
    ):
        parser.add_argument(flag, type=float, default=default, help=f"{what} ({default:g})")
    options = parser.parse_args()
    given = list(vars(options).values())
    if not all(math.isfinite(value) and value > 0 for value in given) or options.busy > 1:
        parser.error("every figure must be above 0, and --busy at most 1")
    print("\n".join(table(Costs(*given))))


if __name__ == "__main__":
    main()
