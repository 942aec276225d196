"""Keys from files and commands: what is read, and that nothing hangs or shows a key."""

import contextlib
import os
import time
from pathlib import Path

import pytest

from gateway.configuration.provider import KeySource
from gateway.upstream.key_source import KEY_MOST, KeyUnreadable, read_key
from tests.loadtest.process import wait_until

KEY = "sk-secret-of-the-provider"


def of_file(path: Path | str) -> str:
    return read_key(KeySource(str(path)))


def of_command(*command: str, most_s: float = 10.0) -> str:
    return read_key(KeySource("", command), most_s)


@pytest.mark.parametrize("text", [KEY, f"{KEY}\n", f" {KEY}\r\n"])
def test_file_holds_the_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)

    assert of_file(path) == KEY


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", f"{KEY} {KEY}".encode(), f"{KEY}\n{KEY}".encode(), KEY.encode() + b"\xff", KEY.encode() + b"\x00"],
)
def test_file_without_a_key_is_refused_in_words_that_do_not_show_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)

    with pytest.raises(KeyUnreadable, match="expected one line of visible ASCII") as refused:
        of_file(path)
    assert KEY not in str(refused.value)


def test_large_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"k" * 10 * KEY_MOST)

    with pytest.raises(KeyUnreadable, match="longer than 65536 bytes"):
        of_file(path)


def test_path_that_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    reasons = []
    for path in (tmp_path / "missing", tmp_path, pipe, "/dev/zero", "key\0"):
        with pytest.raises(KeyUnreadable) as refused:
            of_file(path)
        reasons.append(str(refused.value))
    assert reasons == [
        "No such file or directory",
        "Is a directory",
        "it is not a regular file",
        "it is not a regular file",
        "not a path",
    ]


def test_command_prints_the_key() -> None:
    assert of_command("printf", f"{KEY}\\n") == KEY


def test_command_runs_without_a_shell() -> None:
    assert of_command("printf", "%s", "$HOME;ls|`id`") == "$HOME;ls|`id`"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (("sh", "-c", f"echo {KEY}; echo {KEY} >&2; exit 3"), "it ended with code 3"),
        (("sh", "-c", "kill -9 $$"), "it ended by signal 9"),
        (("/no/such/program", KEY), "No such file or directory"),
        (("true",), "expected one line"),
        (("yes", KEY), "longer than 65536 bytes"),
    ],
)
def test_command_that_fails_is_refused_without_its_output(command: tuple[str, ...], reason: str) -> None:
    with pytest.raises(KeyUnreadable, match=reason) as refused:
        of_command(*command)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    "script", ["sleep 60", "echo key; sleep 60", "exec >&-; sleep 60", "sleep 60 & echo key"], ids=lambda s: s[:12]
)
def test_command_that_hangs_is_ended_with_its_children(script: str, tmp_path: Path) -> None:
    started = time.monotonic()

    with pytest.raises(KeyUnreadable, match=r"no key within 0\.2 s"):
        of_command("sh", "-c", f"echo $$ > {tmp_path}/group; {script}", most_s=0.2)

    assert time.monotonic() - started < 5
    wait_until(lambda: not running_in((tmp_path / "group").read_text().strip()))


def running_in(group: str) -> list[str]:
    """Returns the processes of a group that have not ended."""
    running = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _parent, of_group = stat.read_text().rpartition(") ")[2].split()[:3]
            if of_group == group and state != "Z":
                running.append(stat.parent.name)
    return running
