"""Masks secrets in texts: those of the configuration, and any text that looks like a key."""

import contextlib
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, unquote, urlsplit

MASK = "***"
# Keys of OpenAI and Anthropic, and the word after `Bearer` in an authorization header, whether they are known or not.
_LIKE_KEYS = re.compile(r"(?i)\b(?:sk-[a-z0-9_-]{8,}|bearer\s+[a-z0-9._~+/=-]+)")

# Options of a store's address that need not be hidden; any other may hold a password.
_PLAIN_OPTIONS = (
    "db",
    "protocol",
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_certfile",
)
_STORE = re.compile(r"(?:redis|rediss|unix)(?:\+[a-z]+)?://")


def masked_address(address: str) -> str:
    """Returns an address such as `redis://user:password@host/0?option=…` with its secrets masked."""
    try:
        parts = urlsplit(address)
        options = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    user = f"{MASK}@" if "@" in parts.netloc else ""
    query = "&".join(f"{name}={value if name in _PLAIN_OPTIONS else MASK}" for name, value in options)
    return f"{parts.scheme}://{user}{host}{parts.path}" + (f"?{query}" if query else "")


def secrets_of_text(secret: str) -> set[str]:
    """Returns the texts to mask for a secret: the whole text and, for an address, also its passwords alone. The address
    of a store without a password is not a secret.
    """
    if _STORE.match(secret) and masked_address(secret) == secret:
        return set()
    masked = {secret}
    with contextlib.suppress(ValueError):
        parts = urlsplit(secret)
        masked |= {parts.password or "", unquote(parts.password or "")}
        for option in parts.query.split("&"):
            name, _, value = option.partition("=")
            if parts.scheme and unquote(name).endswith("password"):
                masked |= {value, unquote(value)}
    # Percent-encoded as well, as an address that we compose holds them.
    return (masked | {quote(text, safe="") for text in masked}) - {""}


def without_keys(text: str, key: str = "") -> str:
    """Masks ``key`` and any text that looks like a key."""
    return _LIKE_KEYS.sub(MASK, text.replace(key, MASK) if key else text)


class Redaction:
    """Masks the secrets of the configuration, and any text that looks like a key."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._lasting: set[str] = set()
        self._changing: dict[object, tuple[str, ...]] = {}  # the newest two of each source
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Adds secrets; the earlier ones stay masked."""
        self._lasting.update(secret for secret in secrets if secret)
        self._sort()

    def renew(self, source: object, secret: str) -> None:
        """Adds the newest secret of a source. Its last one stays masked; older ones are void and forgotten, because
        tokens change every hour.
        """
        self._changing[source] = (*self._changing.get(source, ())[-1:], secret)
        self._sort()

    def _sort(self) -> None:
        changing = (secret for secrets in self._changing.values() for secret in secrets)
        self._secrets = sorted({*self._lasting, *changing}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return without_keys(text)
