"""The `pllm` command: reads flags and settings, then runs a replica, the demo, or a command that prints a result.

A command imports its module when it runs: importing all of them would take an eighth of a replica's start.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from gateway.cli import demo, usage
from gateway.configuration.server import ServerSettings
from gateway.configuration.settings import (
    ConfigurationError,
    Settings,
    exposure_problems,
    load,
    state_problems,
)
from gateway.configuration.value_types import Secret
from gateway.configuration.warnings import warnings
from gateway.configuration.yaml_source import Problem
from gateway.process import replica, supervisor
from gateway.process.standard_streams import open_standard_streams
from gateway.reload.file import ConfigurationFile
from gateway.tls import certificates
from gateway.upstream import key_source
from gateway.version import VERSION
from shared_state.errors import StateError

REPLICAS_MOST = 128
PORT_MOST, INTERRUPTED = 65_535, 130
GATEWAY_URL = "http://127.0.0.1:8080"
_REPLICA = re.compile(r"[A-Za-z0-9._:/@-]{1,128}")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command. Returns its exit code."""
    open_standard_streams()
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:  # before a command handles SIGINT itself
        return INTERRUPTED
    except (ConfigurationError, StateError, OSError) as error:  # OSError: a port in use
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pllm", description="LLM gateway whose replicas share one truth.")
    parser.add_argument("--version", action="version", version=f"pllm {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, summary, add_flags in (
        ("serve", "run one replica", _serve_flags),
        ("check", "validate a configuration", _check_flags),
        ("state", "show the state in the store, or send it one command, like redis-cli", _state_flags),
        ("tenants", "list the tenants in the store; sign those of releases before signatures", _tenants_flags),
        ("top", "show the cluster live, in a terminal (PLLM_ADMIN_KEY)", _top_flags),
        ("events", "list the events of breakers, load shedding and replicas", _events_flags),
        ("usage", "show what tenants used, by day", partial(usage.add_flags, url=GATEWAY_URL)),
        ("reload", "make all replicas read their configuration again; all apply it, or none", _reload_flags),
        ("import", "convert another gateway's configuration", _import_flags),
        ("demo", "run a whole cluster on this machine, nothing to set up", _demo_flags),
    ):
        add_flags(commands.add_parser(name, help=summary))
    return parser


def _serve_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, required=True, metavar="FILE")
    command.add_argument("--host", help="instead of server.host")
    command.add_argument("--port", type=_port, help="instead of server.port")
    command.add_argument("--engine", choices=("hypercorn", "uvicorn"), help=argparse.SUPPRESS)
    command.add_argument(
        "--replica", type=_replica, metavar="NAME", help="this replica's name in the state (default: random)"
    )
    command.add_argument(
        "--replicas", type=_count, default=1, metavar="N", help="processes behind one port (default: 1)"
    )
    command.add_argument("--metrics-port", type=_port, metavar="PORT", help="instead of server.metrics_port")
    command.add_argument("--state-url", metavar="URL", help="instead of state.url")
    command.add_argument("--fd", type=_fd, metavar="N", help="serve the socket that is open under this number")
    command.set_defaults(run=_serve)


def _check_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--probe", action="store_true", help="also query every provider with its key")
    command.set_defaults(run=_check)


def _state_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--url", required=True, help="redis://… or unix://…")
    command.add_argument("--domain", default="default", type=_replica, help="state.domain (default: default)")
    command.add_argument(
        "words", nargs="*", metavar="WORD", help="a deployment, or a command: HGETALL 'pllm:{default}:global'"
    )
    command.set_defaults(run=_state)


def _tenants_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, required=True, metavar="FILE")
    command.add_argument("--sign", nargs="+", default=[], metavar="NAME@DIGEST", help="as listed; inspect them first")
    command.set_defaults(run=_tenants)


def _top_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--url", default=GATEWAY_URL, help=f"of a replica (default: {GATEWAY_URL})")
    command.set_defaults(run=_top)


def _events_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--url", default=GATEWAY_URL, help=f"of a replica (default: {GATEWAY_URL})")
    command.add_argument("--limit", default=50, type=_limit, metavar="N", help="number of past events (default: 50)")
    command.add_argument("--follow", action="store_true", help="also print new events as they come")
    command.set_defaults(run=_events)


def _reload_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--url", default=GATEWAY_URL, help=f"of a replica (default: {GATEWAY_URL})")
    command.add_argument("--take", choices=("mine",), default="", help="put its file in force, without the others")
    command.set_defaults(run=_reload)


def _import_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("kind", choices=("litellm",))
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--out", type=Path, metavar="FILE", help="where to write it (default: standard output)")
    command.set_defaults(run=_import)


def _demo_flags(command: argparse.ArgumentParser) -> None:
    text = f"of the first replica; the second takes the next one (default: {demo.PORT})"
    command.add_argument("--port", type=_demo_port, default=demo.PORT, metavar="N", help=text)
    command.set_defaults(run=lambda options: demo.run(options.port))


def _replica(name: str) -> str:
    """Checks a name that becomes a header of every response and a part of Redis keys. Raises ArgumentTypeError, which
    argparse turns into a usage error.
    """
    if name and not _REPLICA.fullmatch(name):
        raise argparse.ArgumentTypeError("expected 1 to 128 letters, digits or any of . _ : / @ -")
    return name


def _count(text: str) -> int:
    """Parses a number of replicas. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= REPLICAS_MOST:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {REPLICAS_MOST}")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > PORT_MOST:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to {PORT_MOST}")
    return int(text)


def _demo_port(text: str) -> int:
    """Reads the port of the first replica; the second takes the next one. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) < PORT_MOST:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {PORT_MOST - 1}")
    return int(text)


def _fd(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("expected the number of an open file")
    return int(text)


def _serve(options: argparse.Namespace) -> int:
    file = ConfigurationFile(options.config, os.environ, partial(_with_options, options=options))
    if options.replicas > 1:
        return supervisor.run(file, options.replicas, _shared_flags(options))
    replica.run(file, os.environ, options.replica, options.fd)
    return 0


def _shared_flags(options: argparse.Namespace) -> list[str]:
    """Returns the flags that every one of several processes gets as well."""
    values = {"--config": options.config, "--host": options.host, "--port": options.port, "--engine": options.engine}
    values["--state-url"] = options.state_url
    return [word for name, value in values.items() if value is not None for word in (name, str(value))]


def _with_options(settings: Settings, options: argparse.Namespace) -> Settings:
    """Returns the settings with the values of the flags. They obey the same rules as those in the file. Raises
    ConfigurationError.
    """
    flags = {"host": options.host, "port": options.port, "engine": options.engine}
    flags["metrics_port"] = options.metrics_port
    replaced = {name: value for name, value in flags.items() if value is not None}
    changed = msgspec.structs.replace(settings, server=msgspec.structs.replace(settings.server, **replaced))
    if options.state_url is not None:
        state = msgspec.structs.replace(settings.state, url=Secret(options.state_url))
        changed = msgspec.structs.replace(changed, state=state)
    problems = (*exposure_problems(changed), *state_problems(changed.state))
    problems += tuple(_replica_problems(changed.server, options))
    if problems:
        raise ConfigurationError(problems)
    return changed


def _replica_problems(server: ServerSettings, options: argparse.Namespace) -> Iterator[Problem]:
    """Yields problems of flags and ports that several processes on one machine cannot share."""
    first, count = server.metrics_port, options.replicas
    if count > 1 and (options.replica is not None or options.fd is not None):
        yield Problem("", "--replica and --fd are for one process and cannot be used with --replicas")
    if first is None or count == 1:
        return
    last = first + count - 1
    if last > PORT_MOST or first <= server.port <= last:
        conflict = f"and server.port is {server.port}" if last <= PORT_MOST else f"and {PORT_MOST} is the last"
        yield Problem("server.metrics_port", f"{count} replicas need the ports {first} to {last}, {conflict}")


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("expected a whole number from 1 to 1000")
    return int(text)


def _top(options: argparse.Namespace) -> int:
    from gateway.cli import console

    return console.top(options.url, os.environ.get("PLLM_ADMIN_KEY", ""))


def _reload(options: argparse.Namespace) -> int:
    from gateway.cli import console

    return console.reload(options.url, os.environ.get("PLLM_ADMIN_KEY", ""), options.take)


def _events(options: argparse.Namespace) -> int:
    from gateway.cli import console

    return console.events(options.url, os.environ.get("PLLM_ADMIN_KEY", ""), options.limit, options.follow)


def _state(options: argparse.Namespace) -> int:
    from gateway.cli import stored_state

    for line in stored_state.shown(options.url, options.domain, options.words):
        print(line)
    return 0


def _tenants(options: argparse.Namespace) -> int:
    from gateway.cli import tenant_signing

    for line in tenant_signing.run(load(options.config, os.environ), options.sign):
        print(line)
    return 0


def _check(options: argparse.Namespace) -> int:
    settings = load(options.file, os.environ)
    of_tls = certificates.check(settings.server.tls) if settings.server.tls is not None else []
    models = {deployment.model_name for deployment in settings.model_list}
    print(f"{options.file}: valid, {len(settings.model_list)} deployments of {len(models)} models")
    for warning in (*warnings(settings), *of_tls, *key_source.warnings(settings.model_list)):
        print(f"warning: {warning}")
    if not options.probe:
        return 0
    from gateway.cli import provider_probe

    for verdict in (verdicts := provider_probe.probe(settings)):
        print(f"{verdict.deployment}: {verdict.words}")
    return 0 if all(verdict.is_ok for verdict in verdicts) else 1


def _import(options: argparse.Namespace) -> int:
    from gateway.cli.litellm import converter

    imported = converter.convert(converter.read(options.file))
    for line in converter.report(imported):
        print(line, file=sys.stderr)
    if imported.text and options.out is None:
        print(imported.text, end="")
    elif imported.text:
        converter.write(imported, options.out, options.file)
    return 0 if imported.text else 1


if __name__ == "__main__":
    sys.exit(main())
