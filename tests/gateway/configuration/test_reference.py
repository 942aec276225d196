"""docs/configuration.md and its JSON Schema are those of the code, and the schema accepts what the code accepts."""

import re
from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml

from gateway.cli import demo
from gateway.configuration.reference import meanings, sections, written_to
from gateway.configuration.settings import ConfigurationError, parse

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = msgspec.json.decode((ROOT / "docs/configuration.schema.json").read_bytes())
FILES = [*sorted((ROOT / "docs/recipes").glob("*.yaml")), ROOT / "deploy/compose/gateway.yaml"]
GENERATED = written_to(ROOT / "docs")
SETTINGS = [setting for section in sections() for setting in section.settings]
EXAMPLE = re.compile(r"^( *)```yaml\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
MODELS = "model_list: [{id: a, model_name: m}]\n"


def problems(text: str) -> list[str]:
    found = jsonschema.Draft7Validator(SCHEMA).iter_errors(yaml.safe_load(text))
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def is_parsed(text: str) -> bool:
    try:
        parse(text, {"PORT": "8081", "WAIT": "5s", "NAME": "b"})
    except ConfigurationError:
        return False
    return True


@pytest.mark.parametrize(("path", "text"), GENERATED.items(), ids=lambda item: getattr(item, "name", ""))
def test_page_and_schema_are_those_of_the_code(path: Path, text: str) -> None:
    assert path.read_text() == text, "run make configuration"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.path)
def test_every_setting_has_a_sentence_a_type_and_a_release(setting: msgspec.Struct) -> None:
    path, kind, default, meaning, since = msgspec.structs.astuple(setting)

    assert re.fullmatch(r"[A-Z`].*\.", meaning), path
    assert kind
    assert default or "default" in meaning or "empty" in meaning.lower() or kind == "mapping" or "key" in path
    assert re.fullmatch(r"unreleased|\d+\.\d+\.\d+", since)


def test_a_field_without_a_sentence_is_refused() -> None:
    class Bare(msgspec.Struct):
        named: int = 1
        """A field with a sentence."""
        bare: int = 2

    with pytest.raises(ValueError, match=r"Bare\.bare has no meaning"):
        meanings(Bare)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_schema_accepts_our_own_files_and_they_name_it(path: Path) -> None:
    text = path.read_text()
    first = text.partition("\n")[0]

    assert problems(text) == []
    assert (path.parent / first.removeprefix("# yaml-language-server: $schema=")).resolve() == (
        ROOT / "docs/configuration.schema.json"
    )


def test_schema_accepts_the_configuration_of_the_manifest() -> None:
    documents = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/gateway.yaml").read_text()))
    texts = [entry["data"]["gateway.yaml"] for entry in documents if entry["kind"] == "ConfigMap"]

    assert [problems(text) for text in texts] == [[]]


def test_schema_accepts_the_configuration_of_the_demo() -> None:
    urls = dict.fromkeys(demo.PROVIDERS, "http://127.0.0.1:9000/v1")

    assert problems(demo.CONFIG.format(store="unix:///run/store", **urls)) == []


def test_schema_accepts_the_examples_of_the_pages() -> None:
    pages = [ROOT / "README.md", *(page for page in (ROOT / "docs").glob("*.md") if page.name != "loadtest.md")]
    examples = [found for page in pages for found in EXAMPLE.findall(page.read_text())]
    bodies = [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in examples]
    documents = [yaml.safe_load(body) for body in bodies if not re.search(r"…|\.\.\.", body)]
    ours = [
        document for document in documents if isinstance(document, dict) and set(document) <= set(SCHEMA["properties"])
    ]
    wrong = {str(document): found for document in ours if (found := problems(yaml.safe_dump(document)))}

    assert len(ours) > 15
    assert wrong == {}


@pytest.mark.parametrize(
    "text",
    [
        "server: {port: '${PORT}', drain_delay: '${WAIT}', max_body: 512 KiB, access_log: 'false'}",
        "server: {port: '8081', max_body: 1.5MB, drain_timeout: 250ms, trusted_proxies: [10.0.0.0/8]}",
        "server: {drain_timeout: 30, drain_delay: null, port: '', metrics_port: ''}\nstate:\nrouter: {}",
        "router: {token_allowance: 0, capacity_leases: {block: 5, for: 50ms}}",
        "router: {fallbacks: {m: []}, aliases: {n: m}, model_queues: {m: {max_waiting: 0}}, autoscale: {ahead: 0}}",
        "auth: {keys: [{name: 'team-${NAME}', key: 0123456789abcdef, weight: 0.5, models: [m]}]}",
    ],
)
def test_schema_and_parser_accept_every_written_form(text: str) -> None:
    assert is_parsed(f"{text}\n{MODELS}")
    assert problems(f"{text}\n{MODELS}") == []


@pytest.mark.parametrize(
    "text",
    [
        "server: {prot: 8080}",
        "server: {port: 0}",
        "server: {port: eighty}",
        "server: {max_body: 10 megabytes}",
        "server: {drain_timeout: 30 seconds}",
        "server: {drain_timeout: 90000}",
        "server: {access_log: maybe}",
        "server: {region: nan}",
        "server: {tls: {key: a.pem}}",
        "server: []",
        "state: {domain: 'a b', standby: embedded}",
        "state: {standby: sometimes}",
        "auth: {keys: [{name: a}]}",
        "router: {routing_strategy: fastest}",
        "router: {fallbacks: {m: n}}",
        "router: {autoscale: {ahead: 3601}}",
        "router: {capacity_leases: {block: 101}}",
        "router: {breaker: {failure_rate: 0}}",
    ],
)
def test_schema_and_parser_refuse_the_same_mistakes(text: str) -> None:
    assert not is_parsed(f"{text}\n{MODELS}")
    assert problems(f"{text}\n{MODELS}") != []
