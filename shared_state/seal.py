"""Signatures of the tenants in the store. A key is as good as the record that holds its hash, so a replica believes a
record only if a holder of the configuration's secrets wrote it: write access to the store creates no valid key.

The last field of a record is `signature`: HMAC-SHA256, in hexadecimal, of everything before it, together with the
routing domain. The text is signed as it stands, so fields that another release adds change nothing.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence

_SALT, _PURPOSE = b"pllm", b"tenant records 1"
_SIGNED = re.compile(rb'(\{.+),"signature":"([0-9a-f]{64})"\}', re.DOTALL)


class Seal:
    """Signs and verifies records. ``secrets``: the first signs, and each verifies. Without secrets every record is
    believed unsigned; with ``is_required`` none is.
    """

    def __init__(self, domain: str, secrets: Sequence[str] = (), is_required: bool = False) -> None:
        self._domain = domain.encode()
        self._keys = [_derived(secret.encode()) for secret in secrets]
        self.is_signing = bool(self._keys)
        self.is_open = not self._keys and not is_required

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seal) and (self._keys, self.is_open) == (other._keys, other.is_open)

    def signed(self, text: bytes) -> bytes:
        """Returns the JSON of a record with its signature, or unchanged where no secret can sign it."""
        if not self._keys:
            return text
        return text[:-1] + b',"signature":"' + self._signature(self._keys[0], text).encode() + b'"}'

    def is_believed(self, text: bytes) -> bool:
        match = _SIGNED.fullmatch(text)
        return self.is_open or (match is not None and self._is_signed(match[1] + b"}", match[2], self._keys))

    def is_current(self, text: bytes) -> bool:
        """Returns whether the newest secret has signed it."""
        match = _SIGNED.fullmatch(text)
        return not self._keys or (match is not None and self._is_signed(match[1] + b"}", match[2], self._keys[:1]))

    def _is_signed(self, body: bytes, signature: bytes, keys: Sequence[bytes]) -> bool:
        return any(hmac.compare_digest(self._signature(key, body).encode(), signature) for key in keys)

    def _signature(self, key: bytes, body: bytes) -> str:
        return hmac.new(key, self._domain + b"\0" + body, hashlib.sha256).hexdigest()


def body_of(text: bytes) -> bytes:
    """Returns a record without its signature."""
    match = _SIGNED.fullmatch(text)
    return text if match is None else match[1] + b"}"


def _derived(secret: bytes) -> bytes:
    """Derives a key with HKDF (RFC 5869) and SHA-256, useless for anything else that the secret protects."""
    extracted = hmac.new(_SALT, secret, hashlib.sha256).digest()
    return hmac.new(extracted, _PURPOSE + b"\x01", hashlib.sha256).digest()
