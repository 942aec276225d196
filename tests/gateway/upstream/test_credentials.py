"""Keys that change while calls are made with them."""

import asyncio
import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.configuration.provider import KeySource, ProviderSettings
from gateway.configuration.redaction import Redaction
from gateway.configuration.settings import DeploymentSettings
from gateway.errors import KeyUnavailable
from gateway.request.calls import Call
from gateway.upstream.client import UpstreamClient
from gateway.upstream.credentials import EVERY_S, Credential, Credentials
from gateway.upstream.exchange import Exchange
from shared_state.records import Outcome
from tests.support.stores import on_loop
from tests.support.token_provider import TokenProvider, running_token_provider

CALL = Call("m", False, b'{"model": "m", "messages": []}')
FETCH = "import sys, urllib.request as r; sys.stdout.write(r.urlopen(sys.argv[1]).read().decode())"


@pytest.fixture
def provider() -> Iterator[TokenProvider]:
    with running_token_provider() as running:
        yield running


def fetching(provider: TokenProvider) -> tuple[str, ...]:
    return (sys.executable, "-c", FETCH, f"{provider.url}/token")


def served_by(provider: TokenProvider, **source: object) -> DeploymentSettings:
    settings = ProviderSettings(base_url=f"{provider.url}/v1", model="m", **source)  # type: ignore[arg-type]
    return DeploymentSettings(id="d", model_name="m", provider=settings)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Kept:
    """One credential with a clock of its own; ``keys``: those that it has had."""

    def __init__(self, source: KeySource) -> None:
        self.clock, self.keys = Clock(), list[str]()
        self._threads = ThreadPoolExecutor(1)
        self.credential = Credential(source, self._threads, lambda _source, key: self.keys.append(key), self.clock)


@on_loop
async def test_refused_key_is_read_again_at_most_every_ten_seconds(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("one")
    kept = Kept(KeySource(str(path)))

    assert await kept.credential.renew()
    path.write_text("two")
    kept.clock.now += EVERY_S - 0.1
    assert not await kept.credential.renew("one")
    kept.clock.now += 0.1
    assert await kept.credential.renew("one")
    assert kept.keys == ["one", "two"]


@on_loop
async def test_key_that_has_changed_since_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("one")
    kept = Kept(KeySource(str(path)))
    await kept.credential.renew()
    path.unlink()
    kept.clock.now += 2 * EVERY_S

    assert await kept.credential.renew("an older one")
    assert kept.credential.fault == ""


@on_loop
async def test_key_stays_when_its_source_fails_and_the_reason_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "key"
    path.write_text("one")
    kept = Kept(KeySource(str(path)))
    await kept.credential.renew()
    path.unlink()

    with caplog.at_level(logging.INFO, "pllm.credentials"):
        for _ in range(3):
            kept.clock.now += EVERY_S
            assert not await kept.credential.renew("one")
    assert kept.credential.key == "one"
    assert [record.getMessage() for record in caplog.records] == [
        f"api_key_file {path}: the key cannot be read: No such file or directory"
    ]


@on_loop
async def test_many_callers_share_one_run_of_a_command(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    kept = Kept(KeySource("", ("sh", "-c", f"echo x >> {ran}; echo key")))

    assert all(await asyncio.gather(*(kept.credential.renew() for _ in range(50))))
    assert ran.read_text() == "x\n"


@on_loop
async def test_loop_is_not_held_while_a_command_runs(tmp_path: Path) -> None:
    release = tmp_path / "release"
    script = f"while [ ! -e {release} ]; do :; done; echo key"
    kept = Kept(KeySource("", ("sh", "-c", script)))
    reading = asyncio.ensure_future(kept.credential.renew())
    await asyncio.to_thread(release.touch)  # the loop runs this while the command waits for it

    assert await reading


async def calling(client: UpstreamClient, count: int = 1) -> list[Exchange]:
    return await asyncio.gather(*(client.send("d", CALL) for _ in range(count)))


@on_loop
async def test_call_is_sent_again_when_its_token_has_expired(provider: TokenProvider) -> None:
    credentials = Credentials([deployment := served_by(provider, api_key_command=fetching(provider))])
    client = UpstreamClient([deployment], credentials=credentials)
    (first,) = await calling(client)
    credential = credentials.of(deployment.provider)
    assert credential is not None

    for refusal in (401, 403):
        provider.expire()
        provider.refusal = refusal
        credential._read_at_s -= EVERY_S  # as if that time had passed
        provider.calls.clear()
        served = await calling(client, 5)
        assert [each.outcome for each in served] == [Outcome.SUCCESS] * 5
        assert sorted(status for *_, status in provider.calls) == [200] * 5 + [refusal] * 5
    assert (first.outcome, len(provider.issued)) == (Outcome.SUCCESS, 3)
    await client.close()


@on_loop
async def test_refusal_of_the_present_key_counts(provider: TokenProvider, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("wrong-key-of-the-file")
    client = UpstreamClient([served_by(provider, api_key_file=str(path))])
    (refused,) = await calling(client)

    assert (refused.outcome, refused.status, len(provider.calls)) == (Outcome.FAILURE, 401, 1)
    assert "wrong-key-of-the-file" not in refused.reason
    assert refused.key == "wrong-key-of-the-file"  # to be masked in the provider's words
    await client.close()


@on_loop
async def test_key_that_changed_in_its_file_serves_the_refused_call(provider: TokenProvider, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    credentials = Credentials([deployment := served_by(provider, api_key_file=str(path))])
    client = UpstreamClient([deployment], credentials=credentials)
    credential = credentials.of(deployment.provider)
    assert credential is not None
    await credential.renew()
    path.write_text(provider.issue())
    await credential.read()  # as every ten seconds
    (served,) = await calling(client)

    assert (served.outcome, [status for *_, status in provider.calls]) == (Outcome.SUCCESS, [200])
    await client.close()


@on_loop
async def test_unreadable_key_is_no_call(provider: TokenProvider, tmp_path: Path) -> None:
    client = UpstreamClient([served_by(provider, api_key_file=str(tmp_path / "missing"))])

    with pytest.raises(KeyUnavailable, match="deployment d cannot be read"):
        await client.send("d", CALL)
    assert provider.calls == []
    await client.close()


@on_loop
async def test_reload_keeps_the_keys_that_were_read(provider: TokenProvider) -> None:
    first = UpstreamClient([deployment := served_by(provider, api_key_command=fetching(provider))])
    await calling(first)
    second = first.with_deployments([deployment])
    await calling(second)

    assert len(provider.issued) == 1
    assert second.credentials is first.credentials
    assert str(first.credentials.keyed(deployment.provider).api_key) == provider.issued[0]
    await second.close()


@on_loop
async def test_deployments_with_the_same_source_share_its_key(provider: TokenProvider) -> None:
    one = served_by(provider, api_key_command=fetching(provider))
    other = served_by(provider, api_key_command=fetching(provider))
    credentials = Credentials([one, other])

    assert credentials.of(one.provider) is credentials.of(other.provider)
    await credentials.stop()


def test_newest_two_keys_of_a_source_are_masked() -> None:
    redact = Redaction(["configured-key"])
    for number in range(100):
        redact.renew("source", f"hourly-token-{number:03}")

    assert redact("configured-key hourly-token-099 hourly-token-098") == "*** *** ***"
    assert redact("hourly-token-000") == "hourly-token-000"  # it expired long ago
