"""SECURITY.md says where each defence is tested: what it names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_path_of_the_threat_model_exists() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    paths = {*re.findall(r"`((?:tests|docs)/[^`]+)`", text), *re.findall(r"\]\(([^)]+)\)", text)}

    assert len(paths) > 20
    assert {path for path in paths if not (ROOT / path).exists()} == set()
