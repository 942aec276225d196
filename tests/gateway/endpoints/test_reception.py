"""Parsing of a request from its bytes: small ones at once, large ones off the event loop, by the same rules."""

import json
from typing import Any, cast

import pytest

from gateway.configuration.settings import parse
from gateway.endpoints.reception import Reception
from gateway.endpoints.visitors import Visitors
from gateway.errors import Forbidden, InvalidRequest
from gateway.json.bounds import LARGE
from gateway.request.auth import Authenticator
from gateway.request.body_memory import BodyMemory
from gateway.request.calls import Kind
from gateway.request.wrong_keys import WrongKeys
from gateway.routing.admission import Admission
from gateway.routing.catalog import Catalog
from gateway.routing.dispatch import Dispatcher
from gateway.upstream.client import UpstreamClient
from shared_state.failover import Failover
from tests.support.stores import on_loop

CONFIG = """
server: {max_messages: 5}
auth: {keys: [{name: team, key: team-key, models: [cheap]}]}
model_list: [{id: c-1, model_name: cheap}, {id: e-1, model_name: expensive}]
"""
SIZES = [10, LARGE]


class NoStore:
    """A request is read before the store is called."""

    def plan(self, *_: object) -> None:
        return None

    def on_overdue(self, _heard: object) -> None:
        """No breaker ever opens here."""


class Read:
    """Reads requests of the tenant `team`."""

    def __init__(self) -> None:
        settings = parse(CONFIG, {})
        store, authenticator = cast(Failover, NoStore()), Authenticator(settings.auth)
        self.upstream = UpstreamClient(settings.model_list)
        admission = Admission(store, settings.router)
        dispatcher = Dispatcher(store, admission, self.upstream, Catalog(settings), settings.router)
        memory = BodyMemory(1 << 20, lambda: True)
        self._reception = Reception(
            dispatcher, authenticator, 1000, memory, Visitors((), WrongKeys()), settings.server.max_messages
        )
        self._headers = [(b"authorization", b"Bearer team-key")]

    async def __call__(self, body: bytes) -> str:
        """Returns the model, and releases what the request held."""
        try:
            tenant = self._reception.known(self._headers)
            return (await self._reception.parse(Kind.CHAT, self._headers, body, tenant)).route.model
        finally:
            await self.upstream.close()


def body(size: int, count: int = 1, more: str = "", **fields: Any) -> bytes:
    messages = [{"role": "user", "content": "x" * (size // count)}] * count
    return (json.dumps({"model": "cheap", "messages": messages, **fields})[:-1] + more + "}").encode()


@pytest.mark.parametrize("size", SIZES)
@on_loop
async def test_request_of_any_size_is_read(size: int) -> None:
    assert await Read()(body(size)) == "cheap"


@pytest.mark.parametrize("size", SIZES)
@on_loop
async def test_messages_are_counted_by_the_setting(size: int) -> None:
    assert await Read()(body(size, 5)) == "cheap"
    with pytest.raises(InvalidRequest, match=r"server\.max_messages"):
        await Read()(body(size, 6))


@pytest.mark.parametrize("size", SIZES)
@on_loop
async def test_models_of_a_key_hold_for_every_reading_of_the_body(size: int) -> None:
    with pytest.raises(Forbidden):
        await Read()(body(size, model="expensive"))
    for twin in ('"mOdel"', '"model"', r'"\u006dodel"', '"MODEL"'):
        with pytest.raises(InvalidRequest):
            await Read()(body(size, more=f', "seed": {"7" * 5_000}, {twin}: "expensive"'))
