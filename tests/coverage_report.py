"""Writes what the last measured run covered, by package, into a page.

`make coverage` runs it. The figure is coverage.py's own: executed statements and branches out of all there are.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import coverage
import msgspec

COUNTS = ("num_statements", "num_branches", "covered_lines", "covered_branches")

HEAD = """\
# Test coverage

Written by `make coverage`, the last part of `make test-long`. It counts statements and branches that all tests but the
long ones run, in the processes that they start as well, and fails below the `fail_under` of `pyproject.toml`. Scripts
in `lua/` are not counted.

| package | statements | branches | covered |
|---|---|---|---|
"""


def page(files: Mapping[str, Mapping[str, Any]]) -> str:
    """``files``: the summaries of coverage's JSON report by path."""
    packages: dict[str, Counter[str]] = {}
    for path, file in sorted(files.items()):
        for name in (path.partition("/")[0], "total"):
            packages.setdefault(name, Counter()).update({count: file["summary"][count] for count in COUNTS})
    packages["total"] = packages.pop("total")  # the last row
    return HEAD + "".join(
        f"| {name} | {found['num_statements']:,} | {found['num_branches']:,} | {_share(found):.1f} % |\n"
        for name, found in packages.items()
    )


def _share(found: Mapping[str, int]) -> float:
    return (
        100 * (found["covered_lines"] + found["covered_branches"]) / (found["num_statements"] + found["num_branches"])
    )


def main() -> None:
    measured = coverage.Coverage()
    measured.load()
    with tempfile.NamedTemporaryFile() as report:
        measured.json_report(outfile=report.name)
        Path(sys.argv[1]).write_text(page(msgspec.json.decode(Path(report.name).read_bytes())["files"]))


if __name__ == "__main__":
    main()
