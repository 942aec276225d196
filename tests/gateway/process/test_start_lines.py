"""The log lines of a start."""

import pytest

from gateway.configuration.redaction import Redaction
from gateway.configuration.settings import parse
from gateway.configuration.value_types import secrets
from gateway.process.start_lines import start_lines

MODELS = "model_list: [{id: a, model_name: gpt-4}, {id: b, model_name: gpt-4}, {id: c, model_name: claude}]\n"
KEYS = "auth: {admin_key: adm-4f9d1c7ae2b05863, keys: [{name: team, key: key-4f9d1c7ae2b05863}]}\n"
STORE = "state: {url: 'redis://user:s3cret@store.example:6379/2'}\n"


def lines(text: str, processes: int = 1) -> list[str]:
    return start_lines(parse(text, {}), "1.2.3", processes)


def test_gateway_without_keys_reports_that_it_listens_on_loopback_only() -> None:
    assert lines(MODELS) == [
        "pllm 1.2.3 listens on http://127.0.0.1:8080: 2 models, 3 deployments, store embedded",
        "live page: http://127.0.0.1:8080/admin",
        "Every call is served: auth.keys is empty. The gateway listens on loopback only.",
    ]


def test_store_is_named_without_its_password_and_processes_are_counted() -> None:
    first, page = lines(MODELS + KEYS + STORE + "server: {host: 0.0.0.0, port: 9000}\n", processes=4)

    assert first == (
        "pllm 1.2.3 listens on http://0.0.0.0:9000 (4 processes): 2 models, 3 deployments, "
        "store redis://***@store.example:6379/2"
    )
    assert page == "live page: http://127.0.0.1:9000/admin"


def test_one_of_a_kind_is_counted_as_one_and_an_address_has_its_brackets() -> None:
    first, page, _ = lines("model_list: [{id: a, model_name: gpt-4}]\nserver: {host: '::1'}\n")

    assert first == "pllm 1.2.3 listens on http://[::1]:8080: 1 model, 1 deployment, store embedded"
    assert page == "live page: http://[::1]:8080/admin"


def test_gateway_with_tls_is_found_under_https() -> None:
    first, page, _ = lines(MODELS + "server: {port: 8443, tls: {certificate: a.pem, key: a.key}}\n")

    assert first.startswith("pllm 1.2.3 listens on https://127.0.0.1:8443: ")
    assert page == "live page: https://127.0.0.1:8443/admin"


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_page_that_is_off_is_not_advertised(host: str) -> None:
    text = f"{MODELS}auth: {{keys: [{{name: team, key: key-4f9d1c7ae2b05863}}]}}\nserver: {{host: {host}}}\n"

    assert lines(text)[1:] == ["The live page and /v1/admin are off: no admin key is set."]


def test_page_that_is_for_this_machine_is_advertised() -> None:
    text = f"{MODELS}auth: {{admin: local, keys: [{{name: team, key: key-1}}]}}\n"

    assert lines(text)[1:] == ["live page: http://127.0.0.1:8080/admin"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis+sentinel://one:26379,two:26379/main?db=3", "redis+sentinel://one:26379,two:26379/main?db=3"),
        ("rediss://host?ssl_ca_certs=/ca.pem", "rediss://host?ssl_ca_certs=/ca.pem"),
        ("unix:///run/store.sock", "unix:///run/store.sock"),
        ("redis://:pa%40ss@host/0", "redis://***@host/0"),
        ("redis://host/0?password=pa%40ss&socket_timeout=5", "redis://host/0?password=***&socket_timeout=***"),
    ],
)
def test_line_as_it_is_logged_names_the_store_and_never_a_password(url: str, shown: str) -> None:
    settings = parse(f"{MODELS}state: {{url: '{url}'}}\n", {})
    redact = Redaction(secrets(settings))

    assert redact(start_lines(settings, "1")[0]).startswith("pllm 1 listens")
    assert redact(start_lines(settings, "1")[0]).endswith(f"store {shown}")
    if shown != url:
        assert redact(f"no store at {url}: pa@ss, pa%40ss") == "no store at ***: ***, ***"


def test_key_that_looks_like_an_address_is_a_secret() -> None:
    settings = parse(f"{MODELS}auth: {{admin_key: 'https://host'}}\n", {})

    assert Redaction(secrets(settings))("key https://host") == "key ***"
