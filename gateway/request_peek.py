"""The peeked part of each kind of request: what it is for, and how much it may make a provider do. Budgets reserve by
that, so it has to be a bound however leniently a provider reads the same field.
"""

import math
from typing import Annotated, Any

import msgspec

Objects = Annotated[list[dict[str, msgspec.Raw]], msgspec.Meta(min_length=1)]
TOKENS_MOST = 999_999_999  # a number with many digits must not be more than the store can add up


def _count(asked: object) -> int:
    """As the most lenient provider reads it, a number in quotes included; 0 where nothing is asked for, or what is no
    number: that is the provider's to refuse.
    """
    if asked is None:
        return 0
    if type(asked) is not int:
        try:
            asked = math.ceil(float(asked))  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            return 0
    return min(max(asked, 0), TOKENS_MOST)


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None


class Request(msgspec.Struct, frozen=True):
    """The peeked part of every request."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    n: Any = None
    best_of: Any = None

    @property
    def most_tokens(self) -> int:
        """Out. By the field of this kind of request only: another one binds nobody."""
        return _count(self.max_tokens)

    @property
    def choices(self) -> int:
        """Answers that are asked for, and paid."""
        return max(1, _count(self.n), _count(self.best_of))


class ChatRequest(Request, frozen=True, kw_only=True):
    """Messages are checked to be a non-empty list of objects."""

    messages: Objects

    @property
    def most_tokens(self) -> int:
        """Of two, which one a provider obeys is not known."""
        return max(_count(self.max_tokens), _count(self.max_completion_tokens))


class CompletionRequest(Request, frozen=True, kw_only=True):
    prompt: str | Annotated[list[Any], msgspec.Meta(min_length=1)]

    @property
    def choices(self) -> int:
        """Of each prompt; a list of numbers is one prompt."""
        prompts = len(self.prompt) if isinstance(self.prompt, list) and type(self.prompt[0]) is not int else 1
        return prompts * super().choices


class EmbeddingRequest(Request, frozen=True, kw_only=True):
    input: str | Annotated[list[Any], msgspec.Meta(min_length=1)]


class MessageRequest(Request, frozen=True, kw_only=True):
    messages: Objects
    max_tokens: Annotated[int, msgspec.Meta(ge=0)]  # 0 fills the prompt cache without an answer


class ResponseRequest(Request, frozen=True, kw_only=True):
    input: str | list[Any] | None = None

    @property
    def most_tokens(self) -> int:
        return _count(self.max_output_tokens)
