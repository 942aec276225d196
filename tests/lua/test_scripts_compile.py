"""Every script compiles on every store, says in its header what it takes, and stays short enough to read."""

import re
from pathlib import Path

import pytest

from shared_state.scripts import LUA, assemble_all, names
from tests.support.stores import RedisCli

SCRIPTS = names()
GATEWAY_ACL = LUA.parent / "docs" / "gateway.acl"
ASKED_BY_THE_GATEWAY = {"evalsha", "script|load", "info", "type", "cluster|slots", "subscribe", "ping"}
LIBRARIES = {"fcall", "function|load", "function|list", "function|delete"}
INCLUDES = tuple(
    sorted(str(path.relative_to(LUA / "include").with_suffix("")) for path in (LUA / "include").rglob("*.lua"))
)
SCRIPT_LINES, INCLUDE_LINES, LINE_LENGTH = 100, 50, 120


def text_of(name: str) -> str:
    return (LUA / f"{name}.lua").read_text()


def code_of(path: Path) -> str:
    """Without comments and strings."""
    lines = [re.sub(r"'[^']*'", "''", line).partition("--")[0] for line in path.read_text().splitlines()]
    return "\n".join(lines)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_loads_under_the_name_of_its_content(cli: RedisCli, name: str) -> None:
    script = assemble_all()[name]

    assert cli.do("SCRIPT", "LOAD", script.text) == script.sha.encode()


@pytest.mark.parametrize("name", SCRIPTS)
def test_function_is_in_a_library_under_the_name_of_its_content(cli: RedisCli, name: str) -> None:
    script = assemble_all()[name]
    library = script.library.name.encode()

    assert cli.do("FUNCTION", "LOAD", "REPLACE", script.library.text) == library
    assert script.function.encode() == b"%b_%b" % (library, name.encode())


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_declares_no_global(cli: RedisCli, name: str) -> None:
    """Redis refuses a global only when the line runs, so it is looked for in the text."""
    assembled = assemble_all()[name].text
    assigned = set(re.findall(r"^([A-Za-z_]\w*)\s*(?:,[^=()]*)?=[^=]", assembled, re.MULTILINE))
    functions = set(re.findall(r"^function\s+(\w+)", assembled, re.MULTILINE))
    declared = {
        name.strip()
        for line in re.findall(r"^local ([^=\n]+?)(?:=|$)", assembled, re.MULTILINE)
        for name in line.split(",")
    }

    assert functions == set()
    assert assigned <= declared


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("word", ["KEYS  1 ", "ARGV  1 ", "reply "])
def test_header_tells_keys_arguments_and_reply(name: str, word: str) -> None:
    header = [line for line in text_of(name).splitlines() if line.startswith("-- ")]

    assert any(line.startswith(f"-- {word}") for line in header)


@pytest.mark.parametrize("name", SCRIPTS)
def test_header_begins_with_a_sentence(name: str) -> None:
    lines = [line for line in text_of(name).splitlines() if not line.startswith("--- @")]

    assert re.match(r"-- [A-Z][^.]+", lines[0])


@pytest.mark.parametrize("name", SCRIPTS)
def test_header_numbers_every_argument_that_is_read(name: str) -> None:
    text = text_of(name)
    header = "\n".join(line for line in text.splitlines() if line.startswith("--"))
    keys, arguments = header.partition("-- ARGV")[0], header.partition("-- ARGV")[2]

    assert all(re.search(rf"\b{n} ", keys) for n in re.findall(r"\bKEYS\[(\d+)\]", text))
    assert all(re.search(rf"\b{n} ", arguments) for n in re.findall(r"\bARGV\[(\d+)\]", text))


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_fits_on_a_page(name: str) -> None:
    assert len(text_of(name).splitlines()) <= SCRIPT_LINES


@pytest.mark.parametrize("name", INCLUDES)
def test_include_is_one_idea(name: str) -> None:
    assert len((LUA / "include" / f"{name}.lua").read_text().splitlines()) <= INCLUDE_LINES


@pytest.mark.parametrize("name", INCLUDES)
def test_include_is_used(name: str) -> None:
    wanted = f'--- @include "{name}"'

    assert any(wanted in path.read_text().splitlines() for path in LUA.rglob("*.lua"))


@pytest.mark.parametrize("path", sorted(LUA.rglob("*.lua")), ids=lambda path: path.stem)
def test_line_is_never_too_long(path: Path) -> None:
    assert [line for line in path.read_text().splitlines() if len(line) > LINE_LENGTH] == []


@pytest.mark.parametrize("path", sorted(LUA.rglob("*.lua")), ids=lambda path: path.stem)
def test_time_comes_from_one_place(path: Path) -> None:
    reads_time = "redis.call('TIME')" in path.read_text()

    assert reads_time == (path.stem == "clock")


@pytest.mark.parametrize("path", sorted(LUA.rglob("*.lua")), ids=lambda path: path.stem)
def test_no_script_searches_keys_or_draws_its_own_numbers(path: Path) -> None:
    text = path.read_text()

    assert re.findall(r"redis\.call\('(?:KEYS|SCAN|RANDOMKEY|FLUSHDB|FLUSHALL)'|math\.random|while true", text) == []


@pytest.mark.parametrize("path", sorted((LUA / "include").rglob("*.lua")), ids=lambda path: path.stem)
def test_include_takes_what_it_uses_as_arguments(path: Path) -> None:
    assert re.findall(r"\b(?:KEYS|ARGV)\b", code_of(path)) == []


def test_keys_are_not_built_in_lua() -> None:
    texts = [path.read_text() for path in LUA.rglob("*.lua")]

    assert [text for text in texts if "'pllm:" in text] == []


def test_acl_of_the_gateway_has_every_command_that_a_script_calls_and_no_other() -> None:
    user = next(line for line in GATEWAY_ACL.read_text().splitlines() if line.startswith("user "))
    allowed = {word.removeprefix("+") for word in user.split() if word.startswith("+")}
    called = {
        call.lower() for path in LUA.rglob("*.lua") for call in re.findall(r"redis\.p?call\('(\w+)'", path.read_text())
    }
    indirect = [path.name for path in LUA.rglob("*.lua") if re.search(r"redis\.p?call\((?!')", path.read_text())]

    assert indirect == []
    assert allowed == called | ASKED_BY_THE_GATEWAY | LIBRARIES
