"""Keys that may be exposed to the network, and the problems of the others, which never show the key."""

from pathlib import Path

import pytest

from gateway.__main__ import main
from gateway.configuration.key_strength import weakness
from gateway.configuration.settings import ConfigurationError, parse
from gateway.configuration.warnings import warnings

STRONG = "4f9d1c7ae2b05863d1f4"
WEAK = [
    ("short", "fewer than 16 characters"),
    ("fifteen-chars-1", "fewer than 16 characters"),
    ("change-me-admin-key-0123456789", "a placeholder"),
    ("CHANGE-ME-now-0123456789", "a placeholder"),
    ("changeme0123456789abcdef", "a placeholder"),
    ("your-key-goes-here-please", "a placeholder"),
    ("sk-change-me-please-please", "a placeholder"),
    ("my-secret-key-CHANGEME", "a placeholder"),
    ("check-admin-key-0123456789", "published"),
    ("aaaaaaaaaaaaaaaaaaaaaaaa", "fewer than 6 different characters"),
    ("abcabcabcabcabcabc", "fewer than 6 different characters"),
    ("0123456789abcdef", "in their usual order"),
    ("1234567890123456", "in their usual order"),
    ("abcdefghijklmnopqrst", "in their usual order"),
    ("sk-0123456789ABCDEF", "in their usual order"),
]
PLACES = [
    ("admin_key: {}, keys: [{{name: t, key: 9a8b7c6d5e4f3a2b1c0d}}]", "auth.admin_key"),
    (
        "admin_keys: [{{name: a, key: {}, role: viewer}}], keys: [{{name: t, key: 9a8b7c6d5e4f3a2b1c0d}}]",
        "auth.admin_keys[0].key",
    ),
    ("keys: [{{name: t, key: {}}}]", "auth.keys[0].key"),
]


def text(key: str, place: str, host: str) -> str:
    auth = place.format(f"'{key}'")  # digits only are no number
    return f"server: {{host: '{host}'}}\nauth: {{{auth}}}\nmodel_list: [{{id: m-1, model_name: m}}]\n"


@pytest.mark.parametrize(("key", "words"), WEAK)
def test_weak_key_is_described_without_being_shown(key: str, words: str) -> None:
    fault = weakness(key)

    assert fault is not None
    assert words in fault
    assert key not in fault


@pytest.mark.parametrize("key", [STRONG, "sixteen-chars-12", "sk-pllm-" + "x" * 43, "sk-team-a-0123456789"])
def test_other_keys_may_be_exposed(key: str) -> None:
    assert weakness(key) is None


@pytest.mark.parametrize(("key", "words"), WEAK)
@pytest.mark.parametrize(("place", "path"), PLACES)
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "gateway.example"])
def test_weak_key_is_refused_where_the_network_finds_it(key: str, words: str, place: str, path: str, host: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(text(key, place, host), {})

    assert [problem.path for problem in refused.value.problems] == [path]
    assert words in str(refused.value)
    assert key not in str(refused.value)


@pytest.mark.parametrize(("key", "words"), WEAK)
@pytest.mark.parametrize(("place", "path"), PLACES)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_weak_key_on_loopback_is_a_warning(key: str, words: str, place: str, path: str, host: str) -> None:
    [warning] = warnings(parse(text(key, place, host), {}))

    assert warning.path == path
    assert words in warning.message
    assert key not in warning.message


@pytest.mark.parametrize(("place", "_path"), PLACES)
def test_strong_key_needs_no_words(place: str, _path: str) -> None:
    found = [each.path for each in warnings(parse(text(STRONG, place, "0.0.0.0"), {}))]

    assert found in ([], ["server.metrics_port"])


def test_host_of_the_command_line_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "gateway.yaml"
    config.write_text(text("short", PLACES[2][0], "127.0.0.1"))

    assert main(["check", str(config)]) == 0
    assert "warning: auth.keys[0].key: a key of fewer than 16 characters" in capsys.readouterr().out
    assert main(["serve", "--config", str(config), "--host", "0.0.0.0"]) == 1
    assert "auth.keys[0].key: a key of fewer than 16 characters" in capsys.readouterr().err
