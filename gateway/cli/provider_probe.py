"""`pllm check --probe`: queries every provider with its key, as the gateway would, and reports the results in words.

A list of models costs nothing, so it is requested first, once for all deployments with the same address and key. A call
of one token follows if there is no list, if the key may not read it, or if the model is not in it.
"""

import asyncio
from typing import Literal

import msgspec

from gateway.cli.tables import clean
from gateway.configuration.patterns import is_further_slot, is_pattern
from gateway.configuration.provider import ProviderSettings
from gateway.configuration.redaction import Redaction
from gateway.configuration.settings import DeploymentSettings, Settings
from gateway.configuration.value_types import secrets
from gateway.json.lenient import NOT_DECODED
from gateway.request.calls import NOT_JSON, Kind, tokens_of
from gateway.upstream.classify import reason_of
from gateway.upstream.credentials import with_key
from gateway.upstream.fault_words import fault_words
from gateway.upstream.http.client import HttpClient
from gateway.upstream.http.faults import HttpFault
from gateway.upstream.http.request import request
from gateway.upstream.http.response import Response
from gateway.upstream.in_band import announced, no_reply
from gateway.upstream.key_source import KeyUnreadable, read_key
from gateway.upstream.providers import anthropic, azure, inquiry, openai
from gateway.upstream.providers.adapters import Adapter, adapter
from gateway.upstream.upstream_errors import error_of, status_of

PATIENCE_S = 10.0
BODY_MOST = 8 * 1_048_576  # bytes; the longest lists of models have less than one MiB
LIST_MOST = 1000  # models on a page of Anthropic's list, whose default is 20
_NO_LIST = frozenset({404, 405, 501})
_NO_ANSWER, _WRONG_KEY, _TOO_MANY = 0, 401, 429
_CHEAPEST = (Kind.CHAT, Kind.MESSAGE, Kind.COMPLETION, Kind.RESPONSE, Kind.EMBEDDING)
_MESSAGES = [{"role": "user", "content": "Hi"}]
_RESPONSE_LEAST = 16  # tokens; OpenAI refuses fewer
# Reasoning models that cannot finish within one token answer 400 with this: key and model are right.
_TOO_FEW_TOKENS = "model output limit was reached"


class Verdict(msgspec.Struct, frozen=True):
    """The result for one deployment."""

    deployment: str
    is_ok: bool
    words: str  # for a reader, without keys


class _Answer(msgspec.Struct, frozen=True):
    """A response of a provider."""

    status: int  # 0: no response
    body: bytes = b""
    words: str = ""  # what a response that is not a success means

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_final(self) -> bool:
        """Whether this response to a request for models holds for calls too: some valid keys cannot list."""
        return self.status in (_NO_ANSWER, _WRONG_KEY, _TOO_MANY) or 300 <= self.status < 400


def probe(settings: Settings, patience_s: float = PATIENCE_S) -> list[Verdict]:
    """Returns a verdict for each deployment, in the order of the configuration. ``patience_s``: for each query."""
    return asyncio.run(_probe(settings, patience_s))


async def _probe(settings: Settings, patience_s: float) -> list[Verdict]:
    # The deployments of an entry with a pattern differ in nothing that a provider sees.
    deployments = [entry for entry in settings.model_list if not is_further_slot(entry.id, entry.model_name)]
    redact, groups = Redaction(secrets(settings)), dict[tuple[str, str, str], list[DeploymentSettings]]()
    unreadable: dict[str, Verdict] = {}
    for entry in deployments:
        if entry.enabled:
            try:
                provider = await asyncio.to_thread(_keyed, entry.provider)
            except KeyUnreadable as error:
                unreadable[entry.id] = Verdict(entry.id, False, f"{entry.provider.source}: {error}")
                continue
            redact.learn((provider.api_key,))
            entry = msgspec.structs.replace(entry, provider=provider)
            groups.setdefault((provider.type, provider.base_url, str(provider.api_key)), []).append(entry)
    async with HttpClient() as http:
        prober = _Prober(http, patience_s, redact)
        results = await asyncio.gather(*(prober.group(entries) for entries in groups.values()))
    verdicts = unreadable | {verdict.deployment: verdict for group in results for verdict in group}
    return [verdicts.get(entry.id) or Verdict(entry.id, True, "disabled, not queried") for entry in deployments]


def _keyed(provider: ProviderSettings) -> ProviderSettings:
    """Returns the provider with the key of its source. Raises KeyUnreadable."""
    return provider if provider.source is None else with_key(provider, read_key(provider.source))


class _Prober:
    def __init__(self, http: HttpClient, patience_s: float, redact: Redaction) -> None:
        self._http = http
        self._patience_s = patience_s
        self._redact = redact

    async def group(self, entries: list[DeploymentSettings]) -> list[Verdict]:
        """Returns the verdicts of deployments with one type, address and key."""
        provider = entries[0].provider
        if provider.type == "azure":  # its list holds the models of a region, not the deployments of the resource
            return await asyncio.gather(*(self._by_call(entry, "") for entry in entries))
        listed = await self._query("GET", _list_url(provider), inquiry.headers(provider))
        if listed.is_final:
            return [Verdict(entry.id, False, listed.words) for entry in entries]
        models = _models(listed.body) if listed.is_ok else None
        if models is None:
            head = listed.words.partition(":")[0]
            remark = "; no list of models" if listed.is_ok or listed.status in _NO_LIST else f"; list of models: {head}"
            return await asyncio.gather(*(self._by_call(entry, remark) for entry in entries))
        return await asyncio.gather(*(self._verdict(entry, models) for entry in entries))

    async def _verdict(self, entry: DeploymentSettings, models: frozenset[str]) -> Verdict:
        model = entry.provider.model
        if is_pattern(entry.model_name):
            return Verdict(entry.id, True, f"ok, {len(models)} models, for a pattern")
        counted = f"{len(models)} {'model' if len(models) == 1 else 'models'}"
        if model in models:
            return Verdict(entry.id, True, self._shown(f"ok, {counted}, has {model}"))
        return await self._by_call(entry, f"; not in the list of {counted}")

    async def _by_call(self, entry: DeploymentSettings, remark: str) -> Verdict:
        if is_pattern(entry.model_name):
            return Verdict(entry.id, True, self._shown(f"not called, because a pattern names no model{remark}"))
        adapted = _adapted(entry)
        headers = {"content-type": "application/json", **inquiry.headers(entry.provider)}
        body = _body(entry.provider, adapted.wire)
        if entry.provider.type == "anthropic":
            body = anthropic.placed(entry.provider, body)
        answer = await self._query("POST", adapted.url, headers, body)
        words = _defect(adapted.wire, answer.body) if answer.is_ok else answer.words
        is_ok = not words or (answer.status == 400 and _TOO_FEW_TOKENS in words)
        shown = f"ok, {entry.provider.model} answers" if is_ok else words
        return Verdict(entry.id, is_ok, self._shown(shown + remark))

    async def _query(
        self, method: Literal["GET", "POST"], url: str, headers: dict[str, str], body: bytes = b""
    ) -> _Answer:
        try:
            async with asyncio.timeout(self._patience_s):
                query = request(method, url, headers.items())
                response = await self._http.send(query, body, self._patience_s / 2)
                content = await _read(response)
        except (HttpFault, OSError) as error:
            return _Answer(0, words=fault_words(error))
        if 200 <= response.status < 300:
            return _Answer(response.status, content)
        return _Answer(response.status, words=self._shown(reason_of(response.status, error_of(content))))

    def _shown(self, words: str) -> str:
        return clean(self._redact(words))


async def _read(response: Response) -> bytes:
    content = bytearray()
    try:
        while len(content) <= BODY_MOST and (chunk := await response.chunk()):
            content += chunk
    finally:
        response.close()
    return bytes(content)


def _list_url(provider: ProviderSettings) -> str:
    query = f"?limit={LIST_MOST}" if provider.type == "anthropic" else ""
    return inquiry.address(provider) + query


def _adapted(entry: DeploymentSettings) -> Adapter:
    """Returns how to call the deployment for the cheapest kind of request that it serves."""
    is_embedding = "embed" in entry.provider.model.lower()
    kinds = sorted(_CHEAPEST, key=lambda kind: kind is not Kind.EMBEDDING) if is_embedding else _CHEAPEST
    kinds = [kind for kind in kinds if not entry.endpoints or kind.label in entry.endpoints]
    found = next((adapted for kind in (*kinds, Kind.MESSAGE) if (adapted := adapter(entry, kind)) is not None), None)
    assert found is not None  # every type has messages
    return found


def _body(provider: ProviderSettings, wire: Kind) -> bytes:
    limit = (azure if provider.type == "azure" else openai).limit_field(provider)
    fields: dict[Kind, dict[str, object]] = {
        Kind.CHAT: {limit: 1, "messages": _MESSAGES},
        Kind.MESSAGE: {"max_tokens": 1, "messages": _MESSAGES},
        Kind.COMPLETION: {"max_tokens": 1, "prompt": "Hi"},
        Kind.RESPONSE: {"max_output_tokens": _RESPONSE_LEAST, "input": "Hi"},
        Kind.EMBEDDING: {"input": "Hi"},
    }
    return msgspec.json.encode({"model": provider.model, **fields[wire]})


def _defect(wire: Kind, body: bytes) -> str:
    """Returns in words why the body of a 200 is not a valid response; empty if it is one."""
    error = announced(wire, body)
    if error is None:
        try:
            tokens_of(wire, body)
        except NOT_DECODED:
            error = error_of(body)
            if error is None:
                return no_reply(body, f"the response body is not a reply of {wire.value}")
    return reason_of(status_of(error), error, is_in_band=True) if error else ""


def _models(body: bytes) -> frozenset[str] | None:
    """Returns the names in OpenAI's or Anthropic's list, or in a bare one; None for anything else."""
    try:
        document = msgspec.json.decode(body)
    except NOT_JSON:
        return None
    entries = document.get("data") if isinstance(document, dict) else document
    if not isinstance(entries, list):
        return None
    names = (entry.get("id") for entry in entries if isinstance(entry, dict))
    return frozenset(
        name.removeprefix("models/") for name in names if isinstance(name, str)
    )  # the prefix of Gemini's names
