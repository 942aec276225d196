"""Assembling scripts: each include once and before its user, and every mistake named by its chain of files."""

import hashlib
import re
from pathlib import Path

import pytest

from shared_state.scripts import (
    LUA,
    IncludeError,
    Source,
    assemble,
    assemble_all,
    bundle,
    libraries,
    names,
    read_source,
)


def written(folder: Path, **texts: str) -> Path:
    """`main` is the script, the rest are includes."""
    (folder / "include").mkdir()
    for name, text in texts.items():
        path = folder / f"{name}.lua" if name == "main" else folder / "include" / f"{name}.lua"
        path.write_text(text)
    return folder


def whole(includes: str, body: str) -> str:
    """The text for EVALSHA."""
    return f"{includes}local function run(KEYS, ARGV)\n{body}end\nreturn run(KEYS, ARGV)\n"


def wants(*names: str) -> str:
    return "".join(f'--- @include "{name}"\n' for name in names)


def test_include_comes_before_its_user(tmp_path: Path) -> None:
    written(tmp_path, main=wants("a") + "return a()", a=wants("b") + "local a = b", b="local b")

    assert assemble("main", tmp_path).text == whole("local b\nlocal a = b\n", "return a()\n")


def test_include_wanted_twice_is_there_once(tmp_path: Path) -> None:
    written(tmp_path, main=wants("a", "b", "a"), a=wants("c"), b=wants("c"), c="local c")

    assert assemble("main", tmp_path).text.count("local c") == 1


def test_unused_function_is_left_out_with_its_dependencies(tmp_path: Path) -> None:
    one = "local function one() return 1 end\n"
    two = "local function two()\n  if true then\n    return one()\n  end\nend\n"
    three = "-- As two() does.\nlocal function three() return 3 end\n"
    written(tmp_path, main=wants("a") + "return three()", a=one + two + three)

    assert assemble("main", tmp_path).text == whole(three, "return three()\n")


@pytest.mark.parametrize("name", names())
def test_every_function_of_a_script_is_used(name: str) -> None:
    code = re.sub(r"--.*", "", assemble(name).text)
    defined = re.findall(r"^local function (\w+)", code, re.MULTILINE)

    assert [function for function in defined if len(re.findall(rf"\b{function}\b", code)) == 1] == []


def test_missing_include_is_named_with_who_wants_it(tmp_path: Path) -> None:
    written(tmp_path, main=wants("a"), a=wants("gone"))

    with pytest.raises(IncludeError, match=r"no file gone\.lua \(included by main > a\)"):
        assemble("main", tmp_path)


def test_missing_script_is_named(tmp_path: Path) -> None:
    with pytest.raises(IncludeError, match=r"no file main\.lua"):
        assemble("main", tmp_path)


def test_cycle_is_named_with_its_files(tmp_path: Path) -> None:
    written(tmp_path, main=wants("a"), a=wants("b"), b=wants("a"))

    with pytest.raises(IncludeError, match="include cycle: main > a > b > a"):
        assemble("main", tmp_path)


def test_include_of_itself_is_a_cycle(tmp_path: Path) -> None:
    written(tmp_path, main=wants("a"), a=wants("a"))

    with pytest.raises(IncludeError, match="include cycle: main > a > a"):
        assemble("main", tmp_path)


def test_script_is_named_by_its_content(tmp_path: Path) -> None:
    script = assemble("main", written(tmp_path, main="return 1"))

    assert script.sha == hashlib.sha1(script.text.encode()).hexdigest()


def test_changed_include_changes_the_name(tmp_path: Path) -> None:
    written(tmp_path, main=wants("a"), a="local a = 1")
    before = assemble("main", tmp_path).sha
    (tmp_path / "include" / "a.lua").write_text("local a = 2")

    assert assemble("main", tmp_path).sha != before


def test_include_stands_in_a_folder(tmp_path: Path) -> None:
    written(tmp_path, main=wants("x/a") + "return a")
    (tmp_path / "include" / "x").mkdir()
    (tmp_path / "include" / "x" / "a.lua").write_text("local a = 1\n")

    assert assemble("main", tmp_path).text == whole("local a = 1\n", "return a\n")
    assert assemble("main", tmp_path, {"x/a": "local a = 2"}).text == whole("local a = 2\n", "return a\n")


def test_replaced_include_is_used_instead_of_the_file(tmp_path: Path) -> None:
    written(tmp_path, main=wants("a") + "return a", a="local a = 1")

    assert assemble("main", tmp_path, {"a": "local a = 2"}).text == whole("local a = 2\n", "return a\n")


def test_every_file_beside_the_includes_is_a_script() -> None:
    assert set(assemble_all()) == set(names()) == {path.stem for path in LUA.glob("*.lua")}
    assert {"acquire", "settle", "beat", "reap", "configure", "force", "snapshot", "explain"} <= set(names())


def test_flag_and_library_are_read_from_the_script_and_kept_out_of_its_text(tmp_path: Path) -> None:
    written(tmp_path, main='--- @flag "no-writes"\n--- @library "both"\n' + wants("a") + "return a", a="local a = 1")
    source = read_source("main", tmp_path)

    assert (source.flags, source.library, source.body) == (("no-writes",), "both", "return a\n")
    assert "flags = { 'no-writes' }" in assemble("main", tmp_path).library.text


def test_scripts_of_one_library_share_what_they_remember(tmp_path: Path) -> None:
    texts = {"store/remembered": "local remembered, outlives = {}, false\n"}
    members = [Source(name, "return remembered\n", texts, "both") for name in ("one", "other")]
    scripts = bundle([*members, Source("alone", "return 1\n")])

    assert scripts["one"].library == scripts["other"].library != scripts["alone"].library
    assert scripts["one"].library.text.count("local remembered, outlives = remembered_by_all, true\n") == 2
    assert scripts["one"].text == whole("local remembered, outlives = {}, false\n", "return remembered\n")


def test_libraries_are_listed_once_each() -> None:
    scripts = assemble_all()

    assert len(libraries(scripts.values())) == len({script.library.name for script in scripts.values()}) < len(scripts)
