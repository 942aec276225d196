"""Another version of the product: a copy of its sources, changed as the next release might change them."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gateway", "shared_state", "lua")


class Version:
    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        for package in PACKAGES:
            shutil.copytree(ROOT / package, self.folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        self.change("gateway/version.py", 'VERSION = "0.1.0"', f'VERSION = "{name}"')

    def change(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1, f"{file}: {old}"
        path.write_text(text.replace(old, new))

    @property
    def environment(self) -> dict[str, str]:
        """With which `python -m gateway` runs this version, wherever it is started."""
        return {"PYTHONPATH": str(self.folder), "PYTHONSAFEPATH": "1"}
