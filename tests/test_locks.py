"""Two locks: what runs, and what develops on top of it. Both are hashed and name no index."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUNS, DEVELOPS = "requirements.lock", "requirements-dev.lock"


def packages(lock: str) -> dict[str, str]:
    """Each package's whole entry by its name."""
    entries = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
    return {entry.partition("==")[0]: entry.strip() for entry in entries}


def test_what_runs_is_locked_alike_for_development() -> None:
    runs, develops = packages(RUNS), packages(DEVELOPS)

    assert runs.items() < develops.items()
    assert {"pytest", "ruff", "mypy", "hatchling"} & runs.keys() == set()


@pytest.mark.parametrize("lock", [RUNS, DEVELOPS])
def test_every_package_has_its_version_and_hashes_and_nothing_else(lock: str) -> None:
    entry = re.compile(
        r"[a-z0-9._-]+(\[[a-z,]+\])?==[\w.]+( ; [^\n\\]+)?"  # name, extras, version, marker
        r" \\\n(    --hash=sha256:[0-9a-f]{64}( \\\n)?)+"
    )

    assert [name for name, text in packages(lock).items() if not entry.fullmatch(text)] == []


def test_readme_tells_how_many_packages_run() -> None:
    assert f"the {len(packages(RUNS))} packages that a gateway runs with" in (ROOT / "README.md").read_text()


def test_image_is_made_from_the_lock_of_what_runs() -> None:
    assert f"COPY {RUNS} " in (ROOT / "Dockerfile").read_text()
    assert f"!{RUNS}" in (ROOT / ".dockerignore").read_text().splitlines()
