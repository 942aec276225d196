"""Translates a chat completion request to a messages request. docs/dialects-chat-as-messages.md lists the rules."""

import msgspec

from gateway.upstream.dialects.chat_as_messages.blocks import (
    JsonFormat,
    MessagesRequest,
    Metadata,
    OutputConfig,
    TextBlock,
)
from gateway.upstream.dialects.chat_as_messages.schema import (
    ChatRequest,
    JsonObjectFormat,
    JsonSchemaFormat,
    parse,
    unsupported,
)
from gateway.upstream.dialects.chat_as_messages.tools import tool_use
from gateway.upstream.dialects.chat_as_messages.turns import conversation

# The provider requires a limit, which a chat client may omit: the highest that every model accepts.
MAX_TOKENS_UNLESS_GIVEN = 4096
TEMPERATURE_MOST = 1.0  # of the provider; chat completions allow up to 2
_USER_MOST = 256  # characters; the provider refuses longer ids


def request(body: bytes, model: str, *, has_sampling: bool = True, output_most: int = MAX_TOKENS_UNLESS_GIVEN) -> bytes:
    """Translates a request body. ``has_sampling``: the model accepts `temperature` and `top_p`, though not both at
    once; ``output_most``: the limit of tokens where the client sets none. Raises InvalidRequest.
    """
    chat = parse(body)
    _refuse_unsupported(chat)
    talk = conversation(chat.messages)
    use = tool_use(chat)
    user = chat.safety_identifier or chat.user
    temperature = chat.temperature if has_sampling else None
    return msgspec.json.encode(
        MessagesRequest(
            model=model,
            max_tokens=chat.max_completion_tokens or chat.max_tokens or output_most,
            messages=talk.messages,
            system=_system(talk.system),
            temperature=None if temperature is None else min(temperature, TEMPERATURE_MOST),
            top_p=chat.top_p if has_sampling and temperature is None else None,
            stop_sequences=_stop_sequences(chat.stop),
            stream=chat.stream is True,
            tools=use.tools,
            tool_choice=use.choice,
            output_config=_output_config(chat),
            metadata=Metadata(user) if user and len(user) <= _USER_MOST else None,
        )
    )


def _refuse_unsupported(chat: ChatRequest) -> None:
    """Refuses fields without a counterpart, where dropping the field would give another answer than requested."""
    if chat.n not in (None, 1):
        raise unsupported("n", "Only one choice can be generated.")
    if chat.logprobs or chat.top_logprobs:
        param = "logprobs" if chat.logprobs else "top_logprobs"
        raise unsupported(param, "Log probabilities are not available for this model.")
    if any(modality != "text" for modality in chat.modalities or ()):
        raise unsupported("modalities", "Only text can be generated.")
    for param in ("audio", "functions", "function_call", "moderation", "web_search_options"):
        if getattr(chat, param) is not None:
            instead = ": use tools and tool_choice" if param.startswith("function") else ""
            raise unsupported(param, f"{param} is not supported by this model{instead}.")


def _output_config(chat: ChatRequest) -> OutputConfig | None:
    """Translates a response format. The provider needs a schema: it cannot promise JSON of any form."""
    wanted = chat.response_format
    if isinstance(wanted, JsonObjectFormat):
        raise unsupported("response_format.type", "json_object is not supported by this model: use json_schema.")
    if not isinstance(wanted, JsonSchemaFormat):
        return None
    if wanted.json_schema.schema is None:
        raise unsupported("response_format.json_schema.schema", "This model needs a schema.")
    return OutputConfig(JsonFormat(wanted.json_schema.schema))


def _system(blocks: list[TextBlock]) -> str | list[TextBlock]:
    return blocks[0].text if len(blocks) == 1 else blocks or ""


def _stop_sequences(stop: str | list[str] | None) -> list[str] | None:
    """Refuses a sequence of white space, as the provider does; dropping it would let the answer run on."""
    sequences = [stop] if isinstance(stop, str) else stop or []
    for position, sequence in enumerate(sequences):
        if not sequence or sequence.isspace():
            param = "stop" if isinstance(stop, str) else f"stop[{position}]"
            raise unsupported(param, "A stop sequence must hold more than white space.")
    return sequences or None
