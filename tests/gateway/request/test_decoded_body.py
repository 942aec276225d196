"""Compressed request bodies are served as their plain ones are, within the same bounds."""

import gzip
import json
import zlib

import pytest

from gateway.errors import InvalidRequest, ReplicaFault, RequestTooLarge
from gateway.request.body_memory import BodyMemory, HeldBody
from gateway.request.decoded_body import SMALL, STEP, decoded
from tests.gateway.http.test_content_codings import COMPRESS
from tests.loadtest.process import CHAT, ProviderProcess, chat_body
from tests.support.cluster import ReplicaProcess
from tests.support.stores import on_loop
from tests.support.wire import Answer

CODINGS = list(COMPRESS)
MIB = 1 << 20


def posted(replica: ReplicaProcess, body: bytes, coding: str, path: str = CHAT) -> Answer:
    return replica.request("POST", path, body, {"content-encoding": coding})


@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
@pytest.mark.parametrize("coding", [*CODINGS, "identity", "GZIP", "x-gzip"])
@pytest.mark.parametrize("pad", [0, 200_000], ids=["small", "large"])
def test_compressed_request_is_served(replica: ReplicaProcess, path: str, coding: str, pad: int) -> None:
    body = json.dumps(chat_body(max_tokens=9, pad="x" * pad)).encode()
    compress = COMPRESS.get(coding.lower().removeprefix("x-"), bytes)
    answer = posted(replica, compress(body), coding, path)

    assert answer.status == 200, answer


@pytest.mark.parametrize("coding", ["compress", "gzip, br", "gzip,gzip", "aes128gcm", "x" * 200])
def test_other_codings_are_refused_with_those_that_are_accepted(
    replica: ReplicaProcess, provider: ProviderProcess, coding: str
) -> None:
    answer = posted(replica, b"\1\2\3", coding)

    assert (answer.status, answer.error["code"]) == (415, "unsupported_content_encoding")
    assert answer.error["param"] == "content-encoding"
    assert answer.headers["accept-encoding"] == "gzip, deflate, zstd, br"
    assert "gzip, deflate, zstd and br" in answer.error["message"]
    assert len(answer.error["message"]) < 250
    assert provider.counts()["requests"] == 0


def test_refusal_is_in_the_dialect_of_messages(replica: ReplicaProcess) -> None:
    answer = posted(replica, b"\1\2\3", "compress", "/v1/messages")

    assert (answer.status, answer.json()["error"]["type"]) == (415, "invalid_request_error")


@pytest.mark.parametrize("coding", CODINGS)
def test_body_that_is_not_in_its_coding_is_refused(replica: ReplicaProcess, coding: str) -> None:
    whole = COMPRESS[coding](json.dumps(chat_body()).encode())
    for body, words in ((b"\xff" * 40, f"not valid {coding}"), (whole[:-9], f"before its {coding} data")):
        answer = posted(replica, body, coding)

        assert (answer.status, answer.error["param"]) == (400, "content-encoding")
        assert words in answer.error["message"]


@pytest.mark.parametrize("coding", CODINGS)
def test_decoded_body_has_the_bound_of_others(replica: ReplicaProcess, coding: str) -> None:
    answer = posted(replica, COMPRESS[coding](bytes(100_000_000)), coding)

    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert replica.chat().status == 200


class Account(HeldBody):
    """Keeps the most that was held."""

    def __init__(self, memory: BodyMemory) -> None:
        super().__init__(memory)
        self.memory, self.most = memory, 0

    def add(self, tenant: str, size: int) -> None:
        super().add(tenant, size)
        self.most = max(self.most, self.memory.size)


@pytest.mark.parametrize("coding", CODINGS)
@on_loop
async def test_bomb_holds_its_bound_and_one_step_more(coding: str) -> None:
    held = Account(BodyMemory(64 * MIB, lambda: False))
    body = COMPRESS[coding](bytes(200_000_000))
    held.add("a", len(body))
    with pytest.raises(RequestTooLarge):
        await decoded(coding, body, 2 * MIB, held, "a")

    assert held.most <= len(body) + 2 * MIB + STEP
    held.release()
    assert held.memory.size == 0


@pytest.mark.parametrize("coding", CODINGS)
@on_loop
async def test_decoded_bytes_replace_those_that_arrived(coding: str) -> None:
    held = HeldBody(memory := BodyMemory(64 * MIB, lambda: False))
    for size in (0, 1, SMALL - 1, SMALL, SMALL + 1, 5 * MIB):
        plain = bytes(size)
        body = COMPRESS[coding](plain)
        held.add("a", len(body))

        assert await decoded(coding, body, 8 * MIB, held, "a") == plain
        assert memory.size == size
        held.release()


@on_loop
async def test_decoded_bytes_need_room_in_memory() -> None:
    held = HeldBody(memory := BodyMemory(MIB, lambda: False))
    body = gzip.compress(bytes(5 * MIB))
    held.add("a", len(body))
    with pytest.raises(ReplicaFault) as refused:
        await decoded("gzip", body, 8 * MIB, held, "a")

    assert refused.value.retry_after_ms == 1000
    held.release()
    assert memory.size == 0


@on_loop
async def test_text_behind_another_coding_is_refused() -> None:
    held = HeldBody(BodyMemory(MIB, lambda: False))
    with pytest.raises(InvalidRequest):
        await decoded("gzip", zlib.compress(b"{}"), MIB, held, "a")
