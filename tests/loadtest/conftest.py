"""One provider process for each test module, healthy and with clean counts at the start of each test."""

from collections.abc import Iterator

import msgspec
import pytest

from loadtest.provider.behaviour import Behaviour
from tests.loadtest.process import ProviderProcess, running_provider


@pytest.fixture(scope="module")
def provider_process() -> Iterator[ProviderProcess]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider(provider_process: ProviderProcess) -> ProviderProcess:
    provider_process.behave(**msgspec.structs.asdict(Behaviour()))
    provider_process.wait_for(in_flight=0)
    provider_process.request("POST", "/control/reset")
    return provider_process
