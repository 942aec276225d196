"""Every page for people: its fences, its links, and the files and make targets that it names exist."""

import contextlib
import importlib.util
import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from gateway.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "deploy", ".github", "gateway", "shared_state", "loadtest", "lua", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(page for name in FOLDERS for page in (ROOT / name).rglob("*.md"))])
LANGUAGES = {"", "sh", "yaml", "json", "python", "lua", "text", "mermaid"}

# A file or folder of the checkout, below one of its folders; `*` and `…` stand for several names.
_PATH = re.compile(rf"(?<![\w/.*-])((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*)")
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^ *(```+)(.*)$")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def fences(text: str) -> Iterator[tuple[str, str]]:
    """Yields the info string and the body of each fenced block; raises ValueError where one is never closed."""
    info: str | None = None
    body: list[str] = []
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if fence is None:
            body.append(line)
        elif info is None:
            info, body = fence.group(2).strip(), []
        else:
            if fence.group(2).strip():
                raise ValueError(f"text behind the end of a fence: {line}")
            yield info, "\n".join(body)
            info = None
    if info is not None:
        raise ValueError("a fence without an end")


def code_of(text: str) -> Iterator[str]:
    """Yields each code span outside of fences, and each line inside of them."""
    for _, body in fences(text):
        yield from body.splitlines()
    yield from _CODE.findall(re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL))


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@cache
def commands() -> set[str]:
    """Returns the commands that `pllm --help` lists."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit):
        main(["--help"])
    return set(re.findall(r"^    (\w+) ", text.getvalue(), flags=re.MULTILINE))


def anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pages
def test_every_fence_has_a_known_language_and_an_end(page: Path) -> None:
    languages = {info for info, _ in fences(page.read_text())}

    assert languages <= LANGUAGES


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


@pages
def test_every_path_exists(page: Path) -> None:
    paths = {path.rstrip(".") for code in code_of(page.read_text()) for path in _PATH.findall(code)}

    assert {path for path in paths if not any(ROOT.glob(path.rstrip("/")))} == set()


@pages
def test_every_make_target_exists(page: Path) -> None:
    named = {name for code in code_of(page.read_text()) for name in re.findall(r"^ *make ([a-z][a-z-]*)", code)}

    assert named <= targets()


@pages
def test_every_command_and_module_exists(page: Path) -> None:
    code = "\n".join(code_of(page.read_text()))
    modules = set(re.findall(r"python -m ((?:gateway|loadtest|tests)[\w.]*)", code))

    assert set(re.findall(r"^ *(?:\S*/)?pllm ([a-z]+)", code, flags=re.MULTILINE)) <= commands()
    assert {name for name in modules if importlib.util.find_spec(name) is None} == set()


def test_a_command_behind_the_language_of_a_fence_is_noticed() -> None:
    swallowed = "```sh curl -s $G/metrics\n# shed ```\n"

    with pytest.raises(ValueError, match="without an end"):
        list(fences(swallowed))
    assert [info for info, _ in fences("```sh curl -s $G\n```\n")] == ["sh curl -s $G"]
