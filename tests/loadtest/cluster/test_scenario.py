"""Scenario files: those of the load test are valid, and faults in others are explained."""

import shlex
from pathlib import Path

import pytest

from loadtest.cluster.scenario import BadScenario, names, read_scenario
from loadtest.load.flags import parse_flags
from loadtest.provider.behaviour import Behaviour, merge

SOUND = "title: t\nload: -rps 5 -duration 1s\nproviders: {azure: {}}\n"


def test_every_kind_of_trouble_has_its_scenario() -> None:
    assert names() == [
        *("brown-out", "flapping", "provider-outage", "replica-crash"),
        *("store-outage", "stream-cuts", "surge", "throttling-storm"),
    ]


@pytest.mark.parametrize("name", names())
def test_scenario_is_sound_and_short(name: str) -> None:
    scenario = read_scenario(name)
    load = parse_flags(shlex.split(scenario.load)).load

    assert load.duration_s is not None
    assert load.duration_s + parse_flags(shlex.split(scenario.load)).warmup_s < 30
    assert all(step.at_s < load.duration_s for step in scenario.steps)
    for behaviour in (*scenario.providers.values(), *(step.behaviour for step in scenario.steps)):
        merge(Behaviour(), behaviour)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("title: t\n", "missing required field `load`"),
        (SOUND + "sleps: []\n", "unknown field `sleps`"),
        (SOUND + "replicas: two\n", "$.replicas"),
        (SOUND + "steps: [{at: soon, says: s}]\n", "not a duration"),
        (SOUND + "steps: [{at: 1s, says: s, kill: replica-3}]\n", "not one of store, replica-1, replica-2"),
        (SOUND + "steps: [{at: 1s, says: s, provider: openai}]\n", "not one of the providers"),
        (SOUND + "steps: [{at: 1s, says: s, kill: store, start: store}]\n", "only one of"),
        (SOUND + "steps: [{at: 1s, says: s, provider: azure, behaviour: {latency: 5}}]\n", "latency"),
        (SOUND + "replicas: 0\n", "not between 1 and 16"),
        (SOUND + "replicas: 1000\n", "not between 1 and 16"),
        ("title: t\nload: -rps 5\nproviders: {}\n", "at least one"),
        ("title: t\nload: -rps 5\nproviders: {a: {error_rate: 2}}\n", "error_rate"),
        ("title: t\nload: -rps '5\nproviders: {a: {}}\n", "No closing quotation"),
        ("title: t\nload: -rps 5 -json x\nproviders: {a: {}}\n", "-json is not allowed"),
        ("a: [", "bad.yaml"),
        ("title: t\nload: -h\nproviders: {a: {}}\n", "-h is not allowed"),
        ("title: t\nload: -scenario x\nproviders: {a: {}}\n", "-scenario is not allowed"),
        ("title: t\nload: -rps 5\nproviders: {store: {}}\n", "'store' is not a valid name"),
        ("title: t\nload: -rps 5\nproviders: {replica-2: {}}\n", "'replica-2' is not a valid name"),
        ("title: t\nload: -rps 5\nproviders: {../a: {}}\n", "'../a' is not a valid name"),
        ("title: t\nload: -rps 5\nproviders: {'': {}}\n", "'' is not a valid name"),
        (SOUND + "steps: [{at: 1s, says: s, start: store}]\n", "starts store, which is running"),
        (SOUND + "steps: [{at: 2s, says: s, kill: store}, {at: 1s, says: s, kill: store}]\n", "which is not running"),
    ],
)
def test_wrong_file_is_explained(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)

    with pytest.raises(BadScenario, match="bad") as caught:
        read_scenario(str(file))
    assert complaint in str(caught.value)
    assert str(file) in str(caught.value)


def test_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(BadScenario, match="neither a file nor one of brown-out, flapping"):
        read_scenario("nonsense")


def test_step_may_come_first_of_all(tmp_path: Path) -> None:
    file = tmp_path / "early.yaml"
    file.write_text(SOUND + "steps: [{at: 0s, says: s}]\n")

    assert read_scenario(str(file)).steps[0].at_s == 0
