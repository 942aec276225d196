"""What a provider of chat completions accepts of a translated request."""

import msgspec

from gateway.configuration.provider import LimitField, Reasoning


class Vocabulary(msgspec.Struct, frozen=True):
    """The fields that a provider of chat completions accepts."""

    limit_field: LimitField = "max_tokens"  # name of the token limit
    has_stream_usage: bool = True  # a stream may request its usage
    has_sampling: bool = True  # `temperature` and `top_p` may be set
    max_output: int | None = None  # the most output tokens; None: as the model's name shows
    reasoning: Reasoning = "none"
    limits_effort_with_tools: bool = True  # as OpenAI does


COMMON = Vocabulary()
