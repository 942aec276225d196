"""The recipes of docs/credentials.md: address, header and renewal, against a provider whose tokens expire."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.configuration.settings import DeploymentSettings, parse
from gateway.request.calls import Call, Kind
from gateway.upstream.client import UpstreamClient
from gateway.upstream.credentials import EVERY_S
from shared_state.records import Outcome
from tests.gateway.upstream.test_credentials import FETCH
from tests.support.stores import on_loop
from tests.support.token_provider import TokenProvider, running_token_provider

PAGE = Path(__file__).resolve().parents[3] / "docs" / "credentials.md"
RECIPES = re.findall(r"```yaml\n(model_list:.*?)```", PAGE.read_text().partition("## Recipes")[2], re.DOTALL)
ENTRIES = {entry.id: entry for recipe in RECIPES for entry in parse(recipe, {}).model_list}
VERTEX = "/v1/projects/PROJECT/locations/europe-west1/endpoints/openapi"
CLAUDE = "/v1/projects/PROJECT/locations/europe-west1/publishers/anthropic/models/claude-haiku-4-5@20251001"
# What each provider documents: the path of its endpoint and the header of the key.
DOCUMENTED = {
    "bedrock-runtime": ("/openai/v1/chat/completions", "authorization"),
    "bedrock-mantle": ("/v1/chat/completions", "authorization"),
    "bedrock-claude": ("/anthropic/v1/messages", "x-api-key"),
    "vertex": (f"{VERTEX}/chat/completions", "authorization"),
    "vertex-claude": (f"{CLAUDE}:rawPredict", "authorization"),
    "azure": ("/openai/v1/chat/completions", "authorization"),
    "azure-claude": ("/anthropic/v1/messages", "authorization"),
}


@pytest.fixture
def provider() -> Iterator[TokenProvider]:
    with running_token_provider() as running:
        yield running


def here(entry: DeploymentSettings, provider: TokenProvider, file: Path) -> DeploymentSettings:
    """Returns the entry with the fake servers in the place of the real ones; the path and the source's kind stay."""
    settings = entry.provider
    fetch = (sys.executable, "-c", FETCH, f"{provider.url}/token", *settings.api_key_command)
    moved = msgspec.structs.replace(
        settings,
        base_url=re.sub(r"https://[^/]+", provider.url, settings.base_url),
        api_key_command=fetch if settings.api_key_command else (),
        api_key_file=str(file) if settings.api_key_file else "",
    )
    return msgspec.structs.replace(entry, provider=moved)


def test_each_recipe_is_tried() -> None:
    assert set(ENTRIES) == set(DOCUMENTED)


@pytest.mark.parametrize("name", DOCUMENTED)
@on_loop
async def test_recipe_serves_before_and_after_its_token_expires(
    name: str, provider: TokenProvider, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(provider.issue())
    entry = here(ENTRIES[name], provider, file)
    client = UpstreamClient([entry])
    credential = client.credentials.of(entry.provider)
    assert credential is not None
    kind = Kind.MESSAGE if entry.provider.type == "anthropic" else Kind.CHAT
    body = b'{"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}'
    call = Call(entry.model_name, False, body, kind)
    first = await client.send(name, call)
    file.write_text(provider.issue())
    credential._read_at_s -= EVERY_S  # as if that time had passed
    second = await client.send(name, call)

    assert (first.outcome, second.outcome) == (Outcome.SUCCESS, Outcome.SUCCESS)
    assert provider.calls == [(*DOCUMENTED[name], status) for status in (200, 401, 200)]
    await client.close()
