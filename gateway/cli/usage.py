"""The command `pllm usage`: its flags."""

import argparse
import os


def add_flags(command: argparse.ArgumentParser, url: str) -> None:
    """Adds the flags. ``url``: the default address of a replica."""
    command.add_argument("--url", default=url, help=f"of a replica (default: {url})")
    command.add_argument("--from", metavar="DAY", help="such as 2026-11-01, in UTC (default: 30 days)")
    command.add_argument("--to", metavar="DAY", help="the last day (default: today)")
    command.add_argument("--by", metavar="NAMES", help="of tenant, model, day (default: tenant,model)")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", const="json", dest="form", help="as the admin API answers")
    form.add_argument("--csv", action="store_const", const="csv", dest="form", help="without the total")
    command.set_defaults(run=_run, form="table")


def _run(options: argparse.Namespace) -> int:
    from gateway.cli import console

    given = {name: getattr(options, name) for name in ("from", "to", "by")}
    params = {name: value for name, value in given.items() if value is not None}
    return console.usage(options.url, os.environ.get("PLLM_ADMIN_KEY", ""), params, options.form)
