"""One call with an official SDK, as an application makes it. All settings are the SDK's defaults, except for the
address and a timeout, which ends a hanging call in time for the measurement.
"""

from collections.abc import Mapping
from typing import Protocol, Self

import anthropic
import openai

API_KEY = "none"
MAX_TOKENS = 100
PROMPT = "hi"
TIMEOUT_S = 20.0


class Client(Protocol):
    """A client of a base URL. It keeps its connection between calls; leaving the context closes it."""

    def __init__(self, url: str) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def call(self, model: str, is_stream: bool) -> str:
        """Returns the whole text. Raises errors of the SDK and of its HTTP library."""
        ...


class _OpenAI:
    def __init__(self, url: str) -> None:
        self._client = openai.OpenAI(base_url=f"{url}/v1", api_key=API_KEY, timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


class Chat(_OpenAI):
    def call(self, model: str, is_stream: bool) -> str:
        create = self._client.chat.completions.create
        if not is_stream:
            plain = create(model=model, messages=[{"role": "user", "content": PROMPT}])
            return plain.choices[0].message.content or ""
        chunks = create(model=model, messages=[{"role": "user", "content": PROMPT}], stream=True)
        return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


class Responses(_OpenAI):
    def call(self, model: str, is_stream: bool) -> str:
        if not is_stream:
            return self._client.responses.create(model=model, input=PROMPT).output_text
        events = self._client.responses.create(model=model, input=PROMPT, stream=True)
        return "".join(event.delta for event in events if event.type == "response.output_text.delta")


class Messages:
    def __init__(self, url: str) -> None:
        self._client = anthropic.Anthropic(base_url=url, api_key=API_KEY, timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def call(self, model: str, is_stream: bool) -> str:
        if not is_stream:
            plain = self._client.messages.create(
                model=model, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": PROMPT}]
            )
            return "".join(block.text for block in plain.content if block.type == "text")
        with self._client.messages.stream(
            model=model, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": PROMPT}]
        ) as stream:
            return stream.get_final_text()


SDKS: Mapping[str, type[Client]] = {"chat": Chat, "responses": Responses, "messages": Messages}
