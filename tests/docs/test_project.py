"""The files around the code agree with it: licence, metadata, workflows, hooks, changelog."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = ROOT / ".github/workflows/test.yml"
YAML = [*sorted((ROOT / ".github").rglob("*.yml")), ROOT / ".pre-commit-config.yaml", ROOT / "docker-compose.yml"]


def versions_of_classifiers() -> list[str]:
    prefix = "Programming Language :: Python :: 3."
    return [name.removeprefix(prefix[:-2]) for name in PROJECT["classifiers"] if name.startswith(prefix)]


def jobs() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    return found


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_of_the_project_is_a_mapping(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_workflow_tests_the_versions_that_the_metadata_names() -> None:
    tested = jobs()["test"]["strategy"]["matrix"]["python"]

    assert tested == versions_of_classifiers()
    assert f">={tested[0]}" == PROJECT["requires-python"]
    assert "${{ matrix.python }}" in jobs()["test"]["container"]


def test_image_and_make_use_a_version_that_is_tested() -> None:
    image = re.findall(r"python:([\d.]+)-", (ROOT / "Dockerfile").read_text())
    least = re.findall(r"version_info < \(3, (\d+)\)", (ROOT / "Makefile").read_text())

    assert set(image) <= set(versions_of_classifiers())
    assert [f">=3.{minor}" for minor in least] == [PROJECT["requires-python"]]


def test_commands_of_the_workflow_exist() -> None:
    commands = [step["run"] for job in jobs().values() for step in job["steps"] if "run" in step]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)

    assert {word.split()[1] for word in commands if word.startswith("make ")} <= set(targets)
    assert [word for word in commands if word.startswith(".") and not (ROOT / word.split()[0]).is_file()] == []


def test_metadata_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text()

    assert PROJECT["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["license-files"] == ["LICENSE"]
    assert PROJECT["version"] == VERSION
    assert {"authors", "classifiers", "description", "keywords", "readme"} <= set(PROJECT)


def test_hooks_are_those_of_make_lint() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    lint = re.findall(r"^\t\$\(BIN\)/(ruff \w+|mypy)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)

    assert {name for name in lint if not any(name in hook["entry"] for hook in hooks)} == set()


def test_changelog_has_the_usual_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    releases = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    groups = re.findall(r"^### (.*)$", text, flags=re.MULTILINE)

    assert releases[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", release) for release in releases[1:])
    assert releases[1].startswith(f"[{VERSION}]")
    assert set(groups) <= {"Before you upgrade", "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert all(re.match(r"- |  |### |## |# |$", line) for line in text.split("## [Unreleased]")[1].splitlines())
