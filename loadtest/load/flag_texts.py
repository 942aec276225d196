"""Flags of the load test that are text: addresses, files, keys, headers. Invalid values are refused before a run."""

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

CHAT_PATH = "/v1/chat/completions"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = ("content-length", "transfer-encoding")  # set by the client: a wrong one turns a body into more requests


def with_scenario(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with the flags of the file that `-scenario FILE` names before all others. Raises
    ValueError.
    """
    names = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    names.add_argument("-scenario", "--scenario")
    try:
        flags, others = names.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from error
    if flags.scenario is None:
        return list(arguments)
    try:
        words = shlex.split(Path(flags.scenario).read_text(encoding="utf-8"), comments=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"-scenario {flags.scenario}: {error}") from error
    if any(re.match("--?scenario(=|$)", word) for word in words):
        raise ValueError(f"-scenario {flags.scenario}: names another scenario")
    return [*words, *others]


def parse_urls(text: str) -> list[str]:
    """Returns addresses of chat completions from bare hosts, from addresses ending in /v1, or from full paths."""
    return [_complete(url.strip()) for url in text.split(",")]


def _complete(url: str) -> str:
    try:
        parts = urlsplit(url)
        name = (parts.hostname or "").encode("idna")  # as for the lookup: refuses empty and too long parts
        is_address = parts.scheme in ("http", "https") and bool(name) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or not url.isascii() or any(character.isspace() for character in url):
        raise argparse.ArgumentTypeError(f"{url!r} is not an http or https address")
    if "@" in parts.netloc:  # it would stand in every report and never be sent
        raise argparse.ArgumentTypeError("user and password in an address are not supported: use -key or -header")
    path = parts.path.rstrip("/") or "/v1"
    return parts._replace(
        path=path + CHAT_PATH.removeprefix("/v1") if path.endswith("/v1") else path, fragment=""
    ).geturl()


def parse_file(text: str) -> str:
    """Checks that a report can be written. Afterwards the result of the run would be lost."""
    path = Path(text)
    try:
        is_writable = "\0" not in text and not path.is_dir()
        is_writable = is_writable and os.access(path if path.exists() else path.parent, os.W_OK)
    except OSError:  # a name that is too long
        is_writable = False
    if not is_writable:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written")
    return text


def parse_key(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise argparse.ArgumentTypeError("a key is one line of text")
    return text


def parse_header(text: str) -> tuple[str, str]:
    name, colon, value = (part.strip() for part in text.partition(":"))
    if not colon or not _NAME.fullmatch(name) or not value.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not a header such as 'x-pllm-priority: high'")
    if name.lower() in _FRAMING:
        raise argparse.ArgumentTypeError(f"{name} is computed from the body")
    return name.lower(), value
