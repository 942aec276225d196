"""The command line of the load test. Every flag is accepted with one dash or two."""

import argparse
import os
import re
import resource
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from loadtest.load.arrivals import STEADY, Shape
from loadtest.load.flag_texts import CHAT_PATH, parse_file, parse_header, parse_key, parse_urls, with_scenario
from loadtest.load.flag_values import parse_duration, parse_mix, parse_number, parse_positive, parse_slo
from loadtest.load.requests import Choice, Target
from loadtest.load.runner import Load
from loadtest.load.slo import Slo

CALLERS = 10
# High enough to hold back only a real backlog, and within the usual limit of 1024 open files.
OPEN_LOOP_CONNECTIONS = 1000
REQUESTS = 100
# A larger number is a typing error: no machine reaches it, and planning it would take all memory.
RPS_MOST = 1_000_000
PROCESS_RPS_MOST = 100_000
REQUESTS_MOST = 10**10
PROCESSES_MOST = 64
DURATION_MOST_S = 30 * 86_400
OWN_FILES = 64
PRIORITIES = ("critical", "high", "normal", "low", "bulk")
_Value = TypeVar("_Value")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    target: Target
    load: Load
    warmup_s: float = 0.0
    slo: Slo | None = None
    processes: int = 1
    is_verbose: bool = False
    json_file: str | None = None
    html_file: str | None = None
    admin_key: str | None = None
    fail_over_ratio: float | None = None
    slo_under_ratio: float | None = None


def parse_flags(arguments: Sequence[str]) -> Options:
    """Returns the options. Prints the reason and exits with 2 when a flag is wrong."""
    # argparse gets two dashes only: it would take flags with one dash for abbreviations of each other.
    parser = _build_parser()
    try:
        arguments = with_scenario(arguments)
    except ValueError as error:
        parser.error(str(error))
    for argument in arguments:
        if argument.encode(errors="replace").decode() != argument:
            parser.error(f"{argument!r} is not UTF-8")
    flags = parser.parse_args([re.sub("^-(?=[a-z]{2})", "--", argument) for argument in arguments])
    concurrent = flags.concurrent or (CALLERS if flags.rps is None else OPEN_LOOP_CONNECTIONS)
    contradiction = _find_contradiction(flags, concurrent)
    if contradiction is not None:
        parser.error(contradiction)
    return Options(
        target=_target(flags),
        load=_load(flags, concurrent),
        warmup_s=flags.warmup,
        slo=flags.slo,
        processes=flags.processes,
        is_verbose=flags.verbose,
        json_file=flags.json,
        html_file=flags.html,
        admin_key=flags.admin_key,
        fail_over_ratio=flags.fail_over,
        slo_under_ratio=flags.slo_under,
    )


def _target(flags: argparse.Namespace) -> Target:
    return Target(
        urls=tuple(url for urls in flags.url or [["http://127.0.0.1:8080" + CHAT_PATH]] for url in urls),
        models=flags.model,
        is_stream=flags.stream,
        give_up_ratio=flags.cancel,
        max_tokens=flags.max_tokens,
        keys=tuple(flags.key),
        priorities=flags.priority,
        headers=dict(flags.header),
        timeout_s=flags.timeout,
        is_failover=flags.failover,
    )


def _load(flags: argparse.Namespace, concurrent: int) -> Load:
    has_no_end = flags.requests is None and flags.duration is None
    return Load(
        concurrent=concurrent,
        requests=REQUESTS if has_no_end else flags.requests,
        duration_s=flags.duration,
        rate=flags.rps,
        arrivals=flags.arrivals,
        shape=_shape(flags),
        seed=flags.seed,
    )


def _find_contradiction(flags: argparse.Namespace, concurrent: int) -> str | None:
    """Returns the reason why flags contradict each other, which argparse cannot check, or None."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    has_shape = flags.arrivals in ("ramp", "spike")
    if concurrent // flags.processes + OWN_FILES > files != resource.RLIM_INFINITY:
        return f"-concurrent {concurrent} needs more open files than the {files} that this machine allows a process"
    if flags.processes > min(concurrent, PROCESSES_MOST):
        most = min(concurrent, PROCESSES_MOST)
        return f"-processes {flags.processes}: at most {most}, as each needs a caller of -concurrent {concurrent}"
    if flags.rps is not None and flags.rps > PROCESS_RPS_MOST * flags.processes:
        return (
            f"-rps {flags.rps:g} is more than a process can send: at most {PROCESS_RPS_MOST:,} for each of -processes"
        )
    if None not in (flags.json, flags.html) and os.path.realpath(flags.json) == os.path.realpath(flags.html):
        return f"-json and -html would both be written to {flags.json}"
    if flags.cancel and not flags.stream:
        return "-cancel needs -stream: only a stream can be given up midway"
    if flags.slo_under is not None and flags.slo is None:
        return "-slo-under needs -slo"
    if has_shape and flags.rps is None:
        return f"-arrivals {flags.arrivals} needs -rps"
    if flags.arrivals == "ramp" and flags.duration is None and flags.ramp_over is None:
        return "-arrivals ramp needs -duration or -ramp-over"
    if flags.arrivals == "spike" and flags.duration is None and None in (flags.spike_at, flags.spike_for):
        return "-arrivals spike needs -duration, or -spike-at and -spike-for"
    if flags.arrivals == "spike" and flags.duration is not None and (flags.spike_at or 0.0) >= flags.duration:
        return "the spike would begin after -duration"
    if flags.arrivals == "spike" and flags.rps * flags.spike_times > RPS_MOST:
        return f"the spike would exceed {RPS_MOST:,} requests/s"
    return None


def _shape(flags: argparse.Namespace) -> Shape:
    third_s = (flags.duration or 0.0) / 3
    match flags.arrivals:
        case "ramp":
            return Shape(ramp_from=flags.ramp_from, ramp_s=flags.ramp_over or flags.duration)
        case "spike":
            at_s = third_s if flags.spike_at is None else flags.spike_at
            return Shape(spike_times=flags.spike_times, spike_at_s=at_s, spike_s=flags.spike_for or third_s)
        case _:
            return STEADY


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest",
        description="Load test of chat completions. With -rps, calls arrive without waiting for answers (open loop).",
        epilog="Flags take one dash or two. Exit codes: 0 success; 1 too many calls failed or too few kept -slo; "
        "2 wrong flags; 130 interrupted.",
        allow_abbrev=False,
    )
    _add_requests(parser)
    _add_load(parser)
    _add_report(parser)
    return parser


def _add_requests(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--scenario", metavar="FILE", help="file with more flags, # begins a comment; flags of the command line win")
    add(
        "--url", type=parse_urls, action="append", help="gateway; repeat or separate with commas to use several in turn"
    )
    add(
        "--failover",
        action="store_true",
        help="use the next -url when one refuses the connection, as load balancers do",
    )
    add("--model", type=_explained(parse_mix), default=(Choice("gpt-4"),), help="one model, or a mix such as a=70,b=30")
    add("--stream", action="store_true")
    add("--cancel", type=parse_ratio, default=0.0, metavar="RATIO", help="share of streams given up midway")
    add("--max-tokens", type=parse_count)
    add("--timeout", type=_duration, default=120.0, help="for one call, queueing included (default 120s)")
    add(
        "--key",
        type=parse_key,
        action="append",
        default=[],
        help="sent as a bearer token; repeat for several tenants, which get equal shares",
    )
    add("--priority", type=parse_priorities, default=(), help="x-pllm-priority: one, or a mix such as high=20,low=80")
    add("--header", type=parse_header, action="append", default=[], metavar="'K: V'", help="repeatable")


def _add_load(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--concurrent", type=parse_count, help="number of callers; with -rps: most calls in progress at once")
    add("--requests", type=parse_count, help=f"end after this many calls (default {REQUESTS} without -duration)")
    add("--rps", type=parse_rate, help="open loop: calls per second")
    add("--duration", type=_duration, help="end after this time, such as 30s, 500ms or 1m30s")
    add("--arrivals", choices=["poisson", "constant", "ramp", "spike"], default="poisson", help="spacing with -rps")
    add(
        "--ramp-from",
        type=parse_rate,
        default=0.0,
        metavar="RPS",
        help="rate at which a ramp to -rps begins (default 0)",
    )
    add("--ramp-over", type=_duration, metavar="DURATION", help="length of the ramp (default: -duration)")
    add(
        "--spike-times",
        type=_explained(parse_positive),
        default=10.0,
        metavar="N",
        help="rate of the spike, as a multiple of -rps (default 10)",
    )
    add("--spike-at", type=_duration, metavar="DURATION", help="start of the spike (default: a third of -duration)")
    add("--spike-for", type=_duration, metavar="DURATION", help="length of the spike (default: a third of -duration)")
    add("--seed", type=int, default=1, help="of all random choices")
    add("--warmup", type=_duration, default=0.0, help="run this long before measuring")
    add("--processes", type=parse_count, default=1, help="share the load among this many processes")


def _add_report(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--slo",
        type=_explained(parse_slo),
        metavar="'ttft=500ms,gap=200ms,latency=5s'",
        help="limits of a good answer",
    )
    add("--fail-over", type=parse_ratio, metavar="RATIO", help="exit with 1 if more calls fail (default: all)")
    add("--slo-under", type=parse_ratio, metavar="RATIO", help="exit with 1 if a smaller share of calls keeps -slo")
    add("--json", type=parse_file, metavar="FILE", help="also write the report to this file")
    add("--html", type=parse_file, metavar="FILE", help="write a page with charts to this file")
    add(
        "--admin-key",
        type=parse_key,
        default=os.environ.get("PLLM_ADMIN_KEY") or None,
        help="shows breaker events on the page (default: PLLM_ADMIN_KEY)",
    )
    add("--verbose", action="store_true", help="one line for each call")


def _explained(parse: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """Returns a parser for argparse, which shows the reason of an ArgumentTypeError only."""

    def parse_explained(text: str) -> _Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_explained


def _duration(text: str) -> float:
    value = _explained(parse_duration)(text)
    if value > DURATION_MOST_S:
        raise argparse.ArgumentTypeError(f"{text} is more than 30 days")
    return value


def parse_rate(text: str) -> float:
    value = _explained(parse_positive)(text)
    if value > RPS_MOST:
        raise argparse.ArgumentTypeError(f"{text} is more than {RPS_MOST:,} requests/s")
    return value


def parse_count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid: {text!r} is not a whole number") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    if value > REQUESTS_MOST:
        raise argparse.ArgumentTypeError(f"{text} is more than {REQUESTS_MOST:,}")
    return value


def parse_ratio(text: str) -> float:
    value = _explained(parse_number)(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def parse_priorities(text: str) -> tuple[Choice, ...]:
    shares = _explained(parse_mix)(text)
    for share in shares:
        if share.name not in PRIORITIES:
            raise argparse.ArgumentTypeError(f"{share.name!r} is not one of {', '.join(PRIORITIES)}")
    return shares
