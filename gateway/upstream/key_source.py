"""Reads a provider's key from a file or from the output of a command. Both may hang, so this runs in a thread, and each
wait has an end. No message holds any part of what was read.
"""

import contextlib
import os
import select
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence

from gateway.configuration.provider import KeySource
from gateway.configuration.settings import DeploymentSettings
from gateway.configuration.yaml_source import Problem, key_path

KEY_MOST = 65_536  # bytes; a token with many claims has a tenth of that
COMMAND_S = 10.0  # a command that fetches a token takes a second


class KeyUnreadable(Exception):
    """There is no key. The message gives the reason, without anything that was read."""


def read_key(source: KeySource, command_s: float = COMMAND_S) -> str:
    """Returns the key. Raises KeyUnreadable."""
    text = _content(source.file) if source.file else _output(source.command, command_s)
    if len(text) > KEY_MOST:
        raise KeyUnreadable(f"it is longer than {KEY_MOST} bytes")
    key = text.strip()
    if not key or not all(0x21 <= byte <= 0x7E for byte in key):
        raise KeyUnreadable("expected one line of visible ASCII characters, without blanks")
    return key.decode()


def warnings(entries: Sequence[DeploymentSettings]) -> Iterator[Problem]:
    """Yields the sources that yield no key on this machine, without running a command: a replica's may have them."""
    firsts: dict[KeySource, str] = {}
    for entry in entries:
        if (source := entry.provider.source) is not None:
            firsts.setdefault(source, entry.id)
    for source, deployment_id in firsts.items():
        if fault := _fault_of(source):
            name = "api_key_file" if source.file else "api_key_command"
            yield Problem(f"{key_path('model_list', deployment_id)}.provider.{name}", f"no key: {fault}")


def _fault_of(source: KeySource) -> str:
    try:
        if source.file:
            read_key(source)
        elif shutil.which(source.command[0]) is None:
            return "there is no such program"
    except KeyUnreadable as error:
        return str(error)
    return ""


def _content(path: str) -> bytes:
    try:
        # A pipe would wait for its writer, and a device may never end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise KeyUnreadable("it is not a regular file")
            return file.read(KEY_MOST + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise KeyUnreadable(getattr(error, "strerror", None) or "not a path") from None


def _output(command: tuple[str, ...], most_s: float) -> bytes:
    until = time.monotonic() + most_s
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may hold the token
            start_new_session=True,  # a group of its own, which can be killed as a whole
        )
    except (OSError, ValueError) as error:
        raise KeyUnreadable(getattr(error, "strerror", None) or "not a command") from None
    try:
        output = _read_until(process, until)
        code = process.wait(max(0.0, until - time.monotonic())) if len(output) <= KEY_MOST else 0
    except (TimeoutError, subprocess.TimeoutExpired):
        raise KeyUnreadable(f"no key within {most_s:g} s") from None
    finally:
        _end(process)
    if code:
        raise KeyUnreadable(f"it ended with code {code}" if code > 0 else f"it ended by signal {-code}")
    return output


def _read_until(process: "subprocess.Popen[bytes]", until: float) -> bytes:
    """Reads to the end of the output, or one byte more than a key may have. Raises TimeoutError."""
    assert process.stdout is not None
    descriptor, output = process.stdout.fileno(), b""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while len(output) <= KEY_MOST:
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        if poll.poll(left_s * 1000):
            part = os.read(descriptor, KEY_MOST)
            if not part:
                break
            output += part
    return output


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a command that has not ended by itself, with everything of its process group."""
    if process.returncode is None:  # not reaped, so that no other group can have its number
        with contextlib.suppress(PermissionError):  # of a program that runs as another user
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
