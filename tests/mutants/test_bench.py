"""The runner itself: on a tree of one module and one test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants.bench import Bench
from tests.mutants.report import is_good, lines, share
from tests.mutants.slip import Result, Slip, Verdict
from tests.mutants.table import TABLE

MODULE = "def is_adult(age: int) -> bool:\n    return age >= 18\n"
# Through a process of its own, as tests of the gateway do it.
TEST = """
import subprocess, sys
from module import is_adult

def test_child():
    code = "from module import is_adult; print(is_adult(17), is_adult(30))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd="/", text=True).split() == ["False", "True"]
"""
OLD = "age >= 18"
BARE = ("--disable-plugin-autoload",)  # starts in a third of the time
SLIP = Slip(OLD, "age >= 16", "test_module.py", "children are let in")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "module.py").write_text(MODULE)
    (tmp_path / "test_module.py").write_text(TEST)
    return tmp_path


@pytest.fixture
def bench(root: Path) -> Iterator[Bench]:
    with Bench(root, BARE) as bench:
        yield bench


def verdict(bench: Bench, slip: Slip, file: str = "module.py") -> Verdict:
    return bench.try_slip(file, slip).verdict


def test_slip_that_a_test_notices_is_noticed_and_taken_back(bench: Bench, root: Path) -> None:
    assert verdict(bench, SLIP) is Verdict.NOTICED
    assert (bench.tree / "module.py").read_text() == (root / "module.py").read_text() == MODULE


def test_slip_that_no_test_notices_is_unnoticed(bench: Bench) -> None:
    """The one after a noticed one: nothing of that is left, compiled or not."""
    verdict(bench, SLIP)

    assert verdict(bench, SLIP._replace(new="age >  18")) is Verdict.UNNOTICED


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"old": "age >= 21"}, "0 times"),
        ({"old": "age"}, "2 times"),
        ({"tests": "test_other.py"}, "no such tests: test_other.py"),
        ({"new": OLD}, "the new text is the old one"),
        ({"new": "age >= (18"}, "pytest could not run"),
        ({"tests": "test_module.py::test_gone"}, "pytest could not run"),
    ],
    ids=["text is gone", "text stands twice", "tests are gone", "no change", "no module", "test is gone"],
)
def test_slip_that_does_not_fit_the_code_is_invalid(bench: Bench, changed: dict[str, str], why: str) -> None:
    result = bench.try_slip("module.py", SLIP._replace(**changed))

    assert result.verdict is Verdict.INVALID
    assert why in result.detail


def test_slip_in_a_file_that_is_gone_is_invalid(bench: Bench) -> None:
    assert verdict(bench, SLIP, "other.py") is Verdict.INVALID


def test_equivalent_slip_is_not_tried(bench: Bench) -> None:
    assert verdict(bench, SLIP._replace(survives="nobody is asked")) is Verdict.EQUIVALENT


def test_slip_that_makes_the_tests_hang_is_noticed(root: Path) -> None:
    with Bench(root, BARE, limit_s=1) as bench:
        (bench.tree / "test_module.py").write_text("from module import is_adult\nwhile is_adult(17):\n    pass\n")
        result = bench.try_slip("module.py", SLIP)

    assert (result.verdict, result.detail) == (Verdict.NOTICED, "by the time limit")


def results(**counts: int) -> list[Result]:
    return [Result("module.py", SLIP, Verdict(name)) for name, count in counts.items() for _ in range(count)]


def test_equivalent_slips_count_for_nothing() -> None:
    assert share(results(noticed=9, unnoticed=1, equivalent=5)) == 0.9


@pytest.mark.parametrize(
    ("counts", "is_enough"),
    [
        ({"noticed": 9, "unnoticed": 1}, True),
        ({"noticed": 8, "unnoticed": 1}, False),
        ({"noticed": 9, "invalid": 1}, False),
    ],
)
def test_run_is_good_when_nine_of_ten_are_noticed_and_none_is_invalid(counts: dict[str, int], is_enough: bool) -> None:
    assert is_good(results(**counts)) is is_enough


def test_report_names_each_survivor_and_what_it_breaks() -> None:
    text = "\n".join(lines(results(noticed=3, unnoticed=1)))

    assert "3 / 4    module.py" in text
    assert "module.py: age >= 18  →  age >= 16\n    children are let in" in text
    assert "3 of 4 slips noticed (75.0%)" in text


def test_table_fits_the_code() -> None:
    """Whoever changes a line that a slip names changes the slip as well: docs in tests/mutants/__init__.py."""
    root = Path(__file__).resolve().parent.parent.parent
    texts = {file: (root / file).read_text() for file in TABLE}
    unfit = [(file, slip.old) for file, slips in TABLE.items() for slip in slips if texts[file].count(slip.old) != 1]
    nodes = {node for slips in TABLE.values() for slip in slips for node in slip.tests.split()}

    assert unfit == []
    assert [node for node in nodes if not (root / node.partition("::")[0]).exists()] == []
