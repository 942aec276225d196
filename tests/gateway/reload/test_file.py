"""The file that a replica was started with is read again as it is then."""

import hashlib
import os
from pathlib import Path

import msgspec
import pytest

from gateway.configuration.settings import ConfigurationError, Settings
from gateway.reload.file import ConfigurationFile

TEXT = "model_list: [{id: m-1, model_name: m, provider: {api_key: '${KEY}'}}]\r\n# für alle\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "pllm.yaml"
    path.write_bytes(TEXT.encode())
    return path


def test_digest_is_the_sha256_of_the_file(path: Path) -> None:
    told = hashlib.sha256(path.read_bytes()).hexdigest()

    assert ConfigurationFile(path, {"KEY": "sk-1"}).read().digest == f"sha256:{told}"


def test_what_a_variable_stands_for_is_not_part_of_the_digest(path: Path) -> None:
    one, other = (ConfigurationFile(path, {"KEY": key}).read() for key in ("sk-1", "sk-2"))

    assert one.digest == other.digest
    assert one.settings != other.settings


def test_flags_of_the_command_line_apply_to_each_reading(path: Path) -> None:
    def moved(settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, server=msgspec.structs.replace(settings.server, port=9))

    file = ConfigurationFile(path, {"KEY": "sk-1"}, moved)

    assert [file.read().settings.server.port for _ in range(2)] == [9, 9]


def test_file_that_is_gone_or_no_text_is_a_problem(path: Path) -> None:
    file = ConfigurationFile(path, {"KEY": "sk-1"})
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        file.read()
    path.unlink()

    with pytest.raises(ConfigurationError, match="cannot be read"):
        file.read()


def test_time_of_the_file_is_that_of_the_last_reading(path: Path) -> None:
    file, times = ConfigurationFile(path, {"KEY": "sk-1"}), (1_700_000_000, 1_800_000_000)
    seen = []
    for written_s in times:
        os.utime(path, (written_s, written_s))
        file.read()
        seen.append(file.written_s)

    assert tuple(seen) == times
