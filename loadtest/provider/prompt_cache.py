"""The fake provider's prompt cache: whose prompt begins with one that it has answered gets its first token sooner."""

from collections import OrderedDict
from hashlib import blake2b

import msgspec

from loadtest.provider.dialects import Call

HIT_DIVIDES_BY = 4  # the time to the first token
BYTES_PER_TOKEN = 4


class PromptCache:
    """The beginnings of the prompts that were used last, message by message."""

    def __init__(self) -> None:
        self._seen = OrderedDict[bytes, None]()

    def used(self, call: Call, most: int) -> Call:
        """Returns the call with its tokens and those that were cached, and keeps its prompt: ``most`` beginnings."""
        digest, length, cached = blake2b(call.model.encode(), digest_size=16), 0, 0
        for part in call.prompt:
            digest.update(part)
            length += len(part)
            key = digest.digest()
            if key in self._seen:
                cached = length
            self._seen[key] = None
            self._seen.move_to_end(key)
        while len(self._seen) > most:
            self._seen.popitem(last=False)
        tokens = max(1, length // BYTES_PER_TOKEN)
        return msgspec.structs.replace(call, tokens=tokens, cached=min(tokens, cached // BYTES_PER_TOKEN))
