"""The page about coverage adds up packages as coverage.py does."""

from tests.coverage_report import page


def file(statements: int, branches: int, lines: int, taken: int) -> dict[str, dict[str, int]]:
    return {
        "summary": {
            "num_statements": statements,
            "num_branches": branches,
            "covered_lines": lines,
            "covered_branches": taken,
        }
    }


def test_packages_are_added_up_with_their_branches() -> None:
    files = {
        "gateway/a.py": file(90, 10, 80, 10),
        "gateway/http/b.py": file(100, 0, 100, 0),
        "loadtest/c.py": file(10, 0, 5, 0),
    }

    rows = page(files).splitlines()[-3:]

    assert rows == [
        "| gateway | 190 | 10 | 95.0 % |",
        "| loadtest | 10 | 0 | 50.0 % |",
        "| total | 200 | 10 | 92.9 % |",
    ]
