"""``python -m tests.mutants [WORD ...]``: tries all slips, or those whose file or consequence has one of the words.

Two run at a time, each in a copy of its own. First the tests of all chosen slips run without a slip: where they are red
already, nothing that follows would mean anything.
"""

import argparse
import itertools
import queue
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.bench import Bench
from tests.mutants.report import is_good, lines
from tests.mutants.slip import Result, Slip
from tests.mutants.table import TABLE

ROOT = Path(__file__).resolve().parent.parent.parent
AT_A_TIME = 2
BASELINE_LIMIT_S = 1800.0
OPTIONS = ("-p", "tests.mutants.explicit_and_generate")

Chosen = list[tuple[str, Slip]]


def chosen(words: list[str]) -> Chosen:
    return [
        (file, slip)
        for file, slips in TABLE.items()
        for slip in slips
        if not words or any(word in f"{file} {slip.breaks}" for word in words)
    ]


def is_baseline_green(slips: Chosen) -> bool:
    nodes = sorted({node for _, slip in slips if not slip.survives for node in slip.tests.split()})
    # Where a whole file is run, its single tests are run with it.
    nodes = [node for node in nodes if node == (file := node.partition("::")[0]) or file not in nodes]
    if not nodes:
        return True
    with Bench(ROOT, (*OPTIONS, "-n", str(AT_A_TIME)), BASELINE_LIMIT_S) as bench:
        run = bench.pytest(*nodes)
    if run.code != 0:
        print(run.output[-6000:])
    return run.code == 0


def tried(slips: Chosen) -> list[Result]:
    with Bench(ROOT, OPTIONS) as first, Bench(ROOT, OPTIONS) as second:
        free: queue.SimpleQueue[Bench] = queue.SimpleQueue()
        for bench in itertools.islice((first, second), AT_A_TIME):
            free.put(bench)

        def try_one(file: str, slip: Slip) -> Result:
            bench = free.get()
            try:
                result = bench.try_slip(file, slip)
            finally:
                free.put(bench)
            print(f"{result.verdict.value:10} {result.took_s:5.1f} s  {file}: {slip.breaks}", flush=True)
            return result

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            return list(pool.map(try_one, *zip(*slips, strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="parts of a file's path or of what a slip breaks; none: all slips")
    parser.add_argument("--list", action="store_true", help="print the slips and try none")
    parser.add_argument("--skip-baseline", action="store_true", help="when it has just been green")
    arguments = parser.parse_args()
    slips = chosen(arguments.words)
    if not slips:
        print("No slip has one of these words. See --list.")
        return 2
    if arguments.list:
        for file, slip in slips:
            print(f"{file}: {slip.breaks}")
        return 0
    if not arguments.skip_baseline and not is_baseline_green(slips):
        print("The tests fail without any slip. Fix them first.")
        return 2
    results = tried(slips)
    print("\n".join(["", *lines(results)]))
    return 0 if is_good(results) else 1


if __name__ == "__main__":
    sys.exit(main())
