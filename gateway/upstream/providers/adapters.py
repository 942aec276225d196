"""The one table of dialects: which provider serves which kind of call, and how.

A stage without a translation is None: its bytes pass unchanged.
"""

from collections.abc import Callable
from functools import partial

import msgspec

from gateway.configuration.provider import ProviderSettings
from gateway.configuration.settings import DeploymentSettings
from gateway.request.calls import Call, Kind
from gateway.upstream.dialects import known_models
from gateway.upstream.dialects.chat_as_messages import translation as chat_as_messages
from gateway.upstream.dialects.chat_as_responses import translation as chat_as_responses
from gateway.upstream.dialects.messages_as_chat import translation as messages_as_chat
from gateway.upstream.dialects.messages_as_responses import translation as messages_as_responses
from gateway.upstream.dialects.origin import Origin
from gateway.upstream.dialects.responses_as_chat import translation as responses_as_chat
from gateway.upstream.dialects.responses_as_messages import translation as responses_as_messages
from gateway.upstream.dialects.usage import without_usage
from gateway.upstream.dialects.vocabulary import Vocabulary
from gateway.upstream.providers import anthropic, azure, openai
from gateway.upstream.sse import Numbered, translated

Converter = Callable[[bytes], bytes]


class Adapter(msgspec.Struct, frozen=True):
    """Translates one kind of call for one deployment."""

    wire: Kind  # the kind of endpoint at the provider
    url: str
    headers: dict[str, str]
    request: Callable[[Call], bytes]  # raises InvalidRequest for a call that the dialect cannot express
    reply: Callable[[Call, bytes], bytes] | None = None  # translates a plain answer; raises Malformed
    stream: Callable[[Call], Converter | None] = lambda _call: None  # makes a converter of whole events
    stream_url: str = ""  # where streams have another address
    has_editions: bool = False  # the body is the client's own, so the headers that name its edition are sent along
    knows: frozenset[str] = frozenset()  # the headers of clients that the provider knows


def adapter(deployment: DeploymentSettings, kind: Kind) -> Adapter | None:
    """Returns the adapter, None when the provider lacks this kind of endpoint."""
    provider = deployment.provider
    if provider.type == "anthropic":
        return _anthropic(deployment, kind)
    if _has_responses_only(deployment) and kind in (Kind.CHAT, Kind.MESSAGE):
        return _chat_as_responses(provider, kind)
    if kind is Kind.MESSAGE:
        vocabulary = _vocabulary(provider)
        return msgspec.structs.replace(
            _openai(provider, Kind.CHAT),
            request=lambda call: messages_as_chat.request(call.body, provider.model, vocabulary),
            reply=lambda call, body: messages_as_chat.reply(body, _origin(provider, call)),
            stream=lambda call: translated(messages_as_chat.Stream(origin=_origin(provider, call)).feed),
        )
    if kind is Kind.RESPONSE and _has_chat_only(deployment):
        return _responses_as_chat(provider)
    return _openai(provider, kind) if kind in openai.KINDS else None


def _origin(provider: ProviderSettings, call: Call) -> Origin:
    return Origin(call.model, provider.model, call.body)


def _has_chat_only(deployment: DeploymentSettings) -> bool:
    """Returns whether the deployment has chat completions and no responses, by its configuration."""
    return Kind.CHAT.label in deployment.endpoints and Kind.RESPONSE.label not in deployment.endpoints


def _has_responses_only(deployment: DeploymentSettings) -> bool:
    """Returns whether the deployment has responses and no chat completions, by its configuration."""
    return Kind.RESPONSE.label in deployment.endpoints and Kind.CHAT.label not in deployment.endpoints


def _chat_as_responses(provider: ProviderSettings, kind: Kind) -> Adapter:
    """Returns the adapter for a client of chat completions, or of messages by way of them."""
    model, vocabulary = provider.model, _vocabulary(provider)
    own = _openai(provider, Kind.RESPONSE)
    if kind is Kind.MESSAGE:
        return msgspec.structs.replace(
            own,
            request=lambda call: messages_as_responses.request(call.body, model, vocabulary),
            reply=lambda call, body: messages_as_responses.reply(body, _origin(provider, call)),
            stream=lambda call: messages_as_responses.stream(_origin(provider, call)),
        )
    return msgspec.structs.replace(
        own,
        request=lambda call: chat_as_responses.request(call.body, model, has_sampling=vocabulary.has_sampling),
        reply=lambda _call, body: chat_as_responses.reply(body),
        stream=lambda call: translated(chat_as_responses.Stream(call.include_usage).feed),
    )


def _vocabulary(provider: ProviderSettings) -> Vocabulary:
    host = openai.host(provider)
    return Vocabulary(
        limit_field=(azure if provider.type == "azure" else openai).limit_field(provider),
        has_stream_usage=provider.stream_usage,
        has_sampling=provider.sampling is not False,
        max_output=provider.max_output,
        reasoning=provider.reasoning or known_models.chat_reasoning(provider.model, host),
        limits_effort_with_tools=not known_models.is_router(host),
    )


def _responses_as_chat(provider: ProviderSettings) -> Adapter:
    vocabulary = _vocabulary(provider)

    def stream(call: Call) -> Converter:
        translation = responses_as_chat.Stream(call.body)
        return Numbered(translated(translation.feed), lambda: translation.sequence_number)

    return msgspec.structs.replace(
        _openai(provider, Kind.CHAT),
        request=lambda call: responses_as_chat.request(call.body, provider.model, vocabulary),
        reply=lambda call, body: responses_as_chat.reply(call.body, body),
        stream=stream,
    )


def _openai(provider: ProviderSettings, kind: Kind) -> Adapter:
    is_azure = provider.type == "azure"
    return Adapter(
        wire=kind,
        url=azure.address(provider, kind) if is_azure else openai.address(provider, kind),
        headers=azure.headers(provider) if is_azure else openai.headers(provider),
        request=partial(openai.body, provider),
        knows=azure.KNOWN_HEADERS if is_azure else openai.KNOWN_HEADERS,
        stream=lambda call: without_usage if openai.requests_usage(provider, call) else None,
    )


def _anthropic(deployment: DeploymentSettings, kind: Kind) -> Adapter | None:
    provider = deployment.provider
    own = Adapter(
        wire=Kind.MESSAGE,
        url=anthropic.address(provider),
        headers=anthropic.headers(provider),
        request=partial(anthropic.body, provider),
        stream_url=anthropic.address(provider, is_stream=True) if anthropic.is_on_vertex(provider) else "",
        knows=anthropic.KNOWN_HEADERS,
    )
    if kind is Kind.MESSAGE:
        return msgspec.structs.replace(own, has_editions=True, knows=own.knows - {"anthropic-beta"})
    most = provider.max_output or deployment.max_output_tokens
    abilities = chat_as_messages.Abilities(anthropic.has_sampling(provider), most, provider.reasoning)
    if kind is Kind.RESPONSE:
        return _responses_as_messages(own, provider, abilities)
    if kind is not Kind.CHAT:
        return None
    return msgspec.structs.replace(
        own,
        request=lambda call: anthropic.placed(provider, chat_as_messages.request(call.body, provider.model, abilities)),
        reply=lambda call, body: chat_as_messages.reply(body, _origin(provider, call)),
        stream=lambda call: translated(chat_as_messages.Stream(call.include_usage, _origin(provider, call)).feed),
    )


def _responses_as_messages(own: Adapter, provider: ProviderSettings, abilities: chat_as_messages.Abilities) -> Adapter:
    def stream(call: Call) -> Converter:
        translation = responses_as_messages.Stream(call.body)
        return Numbered(translation.convert, lambda: translation.sequence_number)

    return msgspec.structs.replace(
        own,
        request=lambda call: anthropic.placed(
            provider, responses_as_messages.request(call.body, provider.model, abilities)
        ),
        reply=lambda call, body: responses_as_messages.reply(call.body, body),
        stream=stream,
    )
