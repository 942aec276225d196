"""The command line of the load test; every flag is accepted with one dash or two."""

import argparse
import math
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from loadtest.client import Target
from loadtest.drive import Load

CHAT_PATH = "/v1/chat/completions"
CALLERS = 10
# Enough that only a real backlog is held back, and within the usual limit of 1024 open files.
OPEN_LOOP_CONNECTIONS = 1000
REQUESTS = 100
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    target: Target
    load: Load
    warmup_s: float
    is_verbose: bool
    json_file: str | None
    fail_over_ratio: float | None


def parse_flags(arguments: Sequence[str]) -> Options:
    """Prints the reason and exits with 2 when a flag is wrong."""
    # Two dashes only for argparse: it would take one-dash flags for abbreviations of each other.
    flags = _build_parser().parse_args([re.sub("^-(?=[a-z]{2})", "--", argument) for argument in arguments])
    requests = flags.requests
    if requests is None and flags.duration is None:
        requests = REQUESTS
    default_concurrent = CALLERS if flags.rps is None else OPEN_LOOP_CONNECTIONS
    return Options(
        target=Target(
            urls=tuple(url for urls in flags.url or [["http://127.0.0.1:8080" + CHAT_PATH]] for url in urls),
            model=flags.model,
            is_stream=flags.stream,
            max_tokens=flags.max_tokens,
            key=flags.key,
            headers=dict(flags.header),
            timeout_s=flags.timeout,
        ),
        load=Load(
            concurrent=flags.concurrent or default_concurrent,
            requests=requests,
            duration_s=flags.duration,
            rate=flags.rps,
            arrivals=flags.arrivals,
            seed=flags.seed,
        ),
        warmup_s=flags.warmup,
        is_verbose=flags.verbose,
        json_file=flags.json,
        fail_over_ratio=flags.fail_over,
    )


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest",
        description="Load test of chat completions. With -rps arrivals do not wait for answers (open loop).",
        epilog="Flags take one dash or two. Exit code: 0, 1 too many calls failed, 2 wrong flags, 130 interrupted.",
        allow_abbrev=False,
    )

    add = parser.add_argument
    add("--url", type=parse_urls, action="append", help="gateway; repeat or separate by commas to take turns")
    add("--model", default="gpt-4")
    add("--concurrent", type=parse_count, help="callers; with -rps: calls on the wire at once")
    add("--requests", type=parse_count, help=f"end after so many (default {REQUESTS} without -duration)")
    add("--rps", type=parse_positive, help="open loop: calls per second")
    add("--duration", type=parse_duration, help="end after this time, such as 30s, 500ms or 1m30s")
    add("--arrivals", choices=["poisson", "constant"], default="poisson", help="spacing with -rps")
    add("--seed", type=int, default=1, help="of the poisson arrivals")
    add("--stream", action="store_true")
    add("--max-tokens", type=parse_count)
    add("--timeout", type=parse_duration, default=120.0, help="of one call, queueing included (default 120s)")
    add("--key", help="sent as a bearer token")
    add("--header", type=parse_header, action="append", default=[], metavar="'K: V'", help="repeatable")
    add("--warmup", type=parse_duration, default=0.0, help="run this long before measuring")
    add("--fail-over", type=parse_ratio, metavar="RATIO", help="exit with 1 if more calls fail (default: all)")
    add("--json", metavar="FILE", help="write the report there too")
    add("--verbose", action="store_true", help="one line for each call")
    return parser


def parse_urls(text: str) -> list[str]:
    """A bare host, its /v1 or the full path all mean the chat completions of that gateway."""
    return [_complete(url.strip().rstrip("/")) for url in text.split(",")]


def _complete(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{url!r} is not an http or https address")
    if not parts.path:
        return url + CHAT_PATH
    return url + CHAT_PATH.removeprefix("/v1") if parts.path.endswith("/v1") else url


def parse_duration(text: str) -> float:
    """Seconds, from 30s, 500ms, 1m30s or a plain number of seconds."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return parse_positive(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 30s, 500ms or 1m30s")
    return parse_positive(str(sum(float(number) * _SECONDS[unit] for number, unit in parts)))


def parse_positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


def parse_count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def parse_ratio(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def parse_header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not a header such as 'x-pllm-priority: high'")
    return name.strip().lower(), value.strip()
