"""Secrets out of texts: those of the configuration, and what looks like a key."""

import re
from collections.abc import Iterable

MASK = "***"
# Keys of OpenAI and Anthropic, and the word after `Bearer` in an authorization header, whoever they belong to.
_LIKE_KEYS = re.compile(r"(?i)\b(?:sk-[a-z0-9_-]{8,}|bearer\s+[a-z0-9._~+/=-]+)")


def without_keys(text: str, key: str = "") -> str:
    """Masks this key, and whatever looks like one."""
    return _LIKE_KEYS.sub(MASK, text.replace(key, MASK) if key else text)


class Redaction:
    """Takes the secrets of the configuration, and what looks like one, out of texts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets: list[str] = []
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Adds more of them; the earlier ones stay secret."""
        known = {*self._secrets, *(secret for secret in secrets if secret)}
        self._secrets = sorted(known, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return without_keys(text)
