"""The warnings of `pllm check` about configurations that are valid but may not be intended."""

import pytest

from gateway.configuration.settings import parse
from gateway.configuration.warnings import warnings

MODELS = "model_list: [{id: a-1, model_name: a}, {id: b-1, model_name: b}, {id: c-1, model_name: c}]\n"


def warned(text: str) -> list[str]:
    return [str(problem) for problem in warnings(parse(MODELS + text, {}))]


def test_plain_configuration_has_nothing_to_warn_of() -> None:
    assert warned("") == []


def test_local_administration_is_warned_of() -> None:
    [warning] = warned("auth: {admin: local, keys: [{name: t, key: sk-4f9d1c7ae2b05863}]}")

    assert warning.startswith("auth.admin: every program on this machine can administer without a key")


@pytest.mark.parametrize(
    ("models", "router", "left_out"),
    [
        ("[a]", "fallbacks: {a: [b, c]}", "b, c"),
        ("[a, b]", "fallbacks: {a: [b, c]}", "c"),
        ("[a, b, c]", "fallbacks: {a: [b, c]}", None),
        ("[]", "fallbacks: {a: [b, c]}", None),
        ("[a]", "fallbacks: {b: [c]}", None),
        ("[x]", "fallbacks: {a: [b]}, aliases: {x: a}", "b"),
        ("[a, y]", "fallbacks: {a: [b]}, aliases: {y: b}", None),
        ("[a]", "context_window_fallbacks: {a: [b]}, content_policy_fallbacks: {a: [c]}", "b, c"),
        ("[a]", "fallbacks: {a: [b]}, fallbacks_within_key: false", None),
    ],
)
def test_fallbacks_outside_a_keys_list_are_warned_of(models: str, router: str, left_out: str | None) -> None:
    text = f"auth: {{keys: [{{name: t, key: sk-4f9d1c7ae2b05863, models: {models}}}]}}\nrouter: {{{router}}}"
    warning = f"no fallback leads this key to {left_out}: router.fallbacks_within_key keeps to the list"

    assert warned(text) == ([f"auth.keys[0].models: {warning}"] if left_out else [])
