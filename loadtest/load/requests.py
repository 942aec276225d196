"""The requests of a run as bytes, rendered once: every combination of address, model, tenant and priority.

A seeded generator draws the next one, so that a run can be repeated; addresses take turns.
"""

import itertools
import random
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

PROMPT = "Say hello."


class Choice(msgspec.Struct, frozen=True):
    """One entry of a mix."""

    name: str
    weight: float = 1.0  # relative to the other entries


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The addresses of the calls and the fields of their requests."""

    urls: Sequence[str]
    models: Sequence[Choice] = (Choice("gpt-4"),)
    is_stream: bool = False
    give_up_ratio: float = 0.0
    """Choice of streams that the client leaves midway."""
    max_tokens: int | None = None
    keys: Sequence[str] = ()
    """One key of each tenant; all are drawn equally often."""
    priorities: Sequence[Choice] = ()
    headers: dict[str, str] = {}
    timeout_s: float = 120.0
    is_failover: bool = False
    """A call whose connection is refused goes to the next address."""

    @property
    def model(self) -> str:
        """The models as text, with shares if there are several."""
        return _render_mix(self.models)


class Address(msgspec.Struct, frozen=True):
    url: str
    host: str
    port: int
    is_secure: bool
    path: str


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes of a request, and the dimensions it counts for: None where all requests of the run share one."""

    address: Address
    wire: bytes
    model: str | None
    tenant: str | None
    priority: str | None


class Requests:
    """An endless supply of requests."""

    def __init__(self, target: Target, seed: int) -> None:
        self._random = random.Random(seed)
        keys: list[Choice | None] = [Choice(key) for key in target.keys]
        priorities: list[Choice | None] = [*target.priorities]
        variants = list(itertools.product(target.models, keys or [None], priorities or [None]))
        weights = [_weight(variant) for variant in variants]
        self._weights = list(itertools.accumulate(weights))
        self._rendered = [
            [_render(target, parse_address(url), *variant) for variant in variants] for url in target.urls
        ]
        self._turn = itertools.cycle(self._rendered)
        self._elsewhere = {
            id(request): following
            for here, there in zip(self._rendered, self._rendered[1:] + self._rendered[:1], strict=True)
            for request, following in zip(here, there, strict=True)
        }

    def next(self) -> Request:
        rendered = next(self._turn)
        if len(rendered) == 1:
            return rendered[0]
        return self._random.choices(rendered, cum_weights=self._weights)[0]

    def elsewhere(self, request: Request) -> Request:
        """Returns the same request for the next address after its own, whatever the turn of other calls."""
        return self._elsewhere[id(request)]


def _weight(variant: Sequence[Choice | None]) -> float:
    weight = 1.0
    for share in variant:
        weight *= share.weight if share is not None else 1.0
    return weight


def parse_address(url: str) -> Address:
    parts = urlsplit(url)
    is_secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(url, parts.hostname or "", parts.port or (443 if is_secure else 80), is_secure, path)


def _render(target: Target, address: Address, model: Choice, key: Choice | None, priority: Choice | None) -> Request:
    body = _render_body(target, model.name)
    headers = {"host": urlsplit(address.url).netloc.rpartition("@")[2], "content-type": "application/json"}
    if key is not None:
        headers["authorization"] = f"Bearer {key.name}"
    if priority is not None:
        headers["x-pllm-priority"] = priority.name
    headers |= target.headers | {"content-length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return Request(
        address=address,
        wire=f"POST {address.path} HTTP/1.1\r\n{lines}\r\n".encode() + body,
        model=model.name if len(target.models) > 1 else None,
        # Never the key itself, because reports are shared.
        tenant=f"key {target.keys.index(key.name) + 1}" if key is not None and len(target.keys) > 1 else None,
        priority=priority.name if priority is not None and len(target.priorities) > 1 else None,
    )


def _render_body(target: Target, model: str) -> bytes:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
    if target.max_tokens is not None:
        body["max_tokens"] = target.max_tokens
    if target.is_stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return msgspec.json.encode(body)


def _render_mix(shares: Sequence[Choice]) -> str:
    if len(shares) == 1:
        return shares[0].name
    total = sum(share.weight for share in shares)
    return ", ".join(f"{share.name} {share.weight / total:.0%}" for share in shares)
