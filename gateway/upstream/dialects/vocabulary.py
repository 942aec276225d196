"""What a provider of chat completions accepts of a translated request."""

import msgspec

from gateway.configuration.provider import LimitField


class Vocabulary(msgspec.Struct, frozen=True):
    """The fields that a provider of chat completions accepts."""

    limit_field: LimitField = "max_tokens"  # name of the token limit
    has_stream_usage: bool = True  # a stream may request its usage
    has_sampling: bool = True  # `temperature` and `top_p` may be set


COMMON = Vocabulary()
