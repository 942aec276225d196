"""The settings as shown: as in the file, with secrets masked."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from gateway.configuration.redaction import Redaction, masked_address
from gateway.configuration.settings import parse
from gateway.configuration.value_types import secrets
from gateway.endpoints.admin.masking import masked

SECRETS = ("s3cret-store", "s3cret-admin", "s3cret-key", "s3cret-provider", "s3cret-sentinel")
TEXT = """
state: {url: "redis+sentinel://user:s3cret-store@one:26379,two:26379/main?sentinel_password=s3cret-sentinel&db=3"}
auth:
  admin_key: s3cret-admin
  keys: [{name: team-a, key: s3cret-key, rpm: 600}]
router: {circuit_breaker_cooldown: 1500ms, fallbacks: {gpt-4: [gpt-4]}}
model_list:
  - {id: a, model_name: gpt-4, timeout: 90s, provider: {base_url: "http://127.0.0.1:1/v1", api_key: s3cret-provider}}
"""


@pytest.fixture
def shown() -> Any:
    return masked(parse(TEXT.replace(", fallbacks: {gpt-4: [gpt-4]}", ""), {}))


def test_no_secret_is_shown(shown: Any) -> None:
    text = json.dumps(shown)

    assert [secret for secret in SECRETS if secret in text] == []
    assert text.count("***") == 5


def test_store_is_shown_where_it_is(shown: Any) -> None:
    assert shown["state"]["url"] == "redis+sentinel://***@one:26379,two:26379/main?sentinel_password=***&db=3"


def test_secret_that_is_not_set_is_seen_to_be_empty() -> None:
    shown: Any = masked(parse("model_list: [{id: a, model_name: m, provider: {base_url: 'http://x/v1'}}]", {}))

    assert (shown["auth"]["admin_key"], shown["state"]["url"]) == ("", "")
    assert shown["model_list"][0]["provider"]["api_key"] == ""


def test_durations_are_as_they_can_be_written(shown: Any) -> None:
    assert shown["router"]["circuit_breaker_cooldown"] == "1500ms"
    assert shown["model_list"][0]["timeout"] == "90s"


def test_defaults_are_shown_too(shown: Any) -> None:
    assert shown["router"]["load_shedding"]["max_active_requests"] == 1000
    assert shown["auth"]["keys"] == [
        {
            "name": "team-a", "key": "***", "priority": "normal", "rpm": 600, "tpm": None, "max_parallel": None,
            "weight": 1.0, "models": [], "budget": None, "may_name_deployment": False,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:pa%40ss@host", "redis://***@host"),
        ("redis://token@host", "redis://***@host"),
        ("rediss://host?ssl_ca_certs=/ca.pem&ssl_password=x", "rediss://host?ssl_ca_certs=/ca.pem&ssl_password=***"),
        ("unix://user:pass@/run/store.sock?password=x", "unix://***@/run/store.sock?password=***"),
        ("redis://[broken", "***"),
    ],
)
def test_address_of_the_store_is_shown_without_secrets(address: str, shown: str) -> None:
    assert masked_address(address) == shown


SPECIAL = "s3cret@b/c#d?e:f%g+h&i"
WRITTEN = quote(SPECIAL, safe="")


@pytest.mark.parametrize("url", [f"redis://:{WRITTEN}@h", f"redis+sentinel://h/main?sentinel_password={WRITTEN}"])
def test_password_of_an_address_is_masked_in_whatever_form_it_appears(url: str) -> None:
    settings = parse(
        f'state: {{url: "{url}"}}\nmodel_list: [{{id: a, model_name: m, provider: {{api_key: x-y-z}}}}]', {}
    )
    redact = Redaction(secrets(settings))

    assert (
        redact(f"{url} {SPECIAL} {WRITTEN} redis://:{WRITTEN}@10.0.0.9:6379")
        == "*** *** *** redis://:***@10.0.0.9:6379"
    )
