"""Ids of tool calls that one provider made and another provider reads in the history.

A digest replaces an id that the reader would refuse. The same id gives the same digest in every turn, so that results
match their calls and cached prompts still match.

A client of messages gets ids that both dialects accept, because its next request may go to either. Such an id holds the
provider's own where that is another one, and the thought signature of its call: Gemini refuses the history without it,
and the id is the only part of a call that every client sends back.
"""

import base64
import binascii
import hashlib
import re
import secrets

import msgspec

MARK = "pllm-thought"  # in all that the gateway gives to clients and takes back from their history
SIGNATURE_MOST = 32_768  # characters; a longer thought signature is dropped

_MESSAGES_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # Anthropic refuses other ids
_MESSAGES_ID_MOST = 64
_CHAT_ID_MOST = 40  # characters; OpenAI refuses longer ids
_MISTRAL_ID = re.compile(r"[a-zA-Z0-9]{9}")  # Mistral's models refuse other ids
_MISTRALS = frozenset({"mistral", "ministral", "magistral", "mixtral", "codestral", "devstral", "pixtral", "voxtral"})
_WRAPPED = re.compile(r"pllm-id-[0-9a-f]{6}-([a-zA-Z0-9_-]+)")
_SIGNED = re.compile(rf"(?P<id>[a-zA-Z0-9_-]{{1,64}}?)-{MARK}-(?P<family>[a-z]+)-(?P<signature>[a-zA-Z0-9_-]+)")


class Signature(msgspec.Struct, frozen=True):
    """A thought signature, and the family of the model that made it."""

    text: str
    family: str


_RESPONSES_ID_MOST = 64  # in its responses


def for_messages(call_id: str) -> str:
    own = _unsigned(call_id)
    return own if _MESSAGES_ID.fullmatch(own) else f"toolu_{_digest(own)}"


def for_chat(call_id: str, family: str = "") -> str:
    """Returns the id that the provider made, where the client's holds it. ``family``: of the model that reads it."""
    own = _unsigned(call_id)
    wrapped = _WRAPPED.fullmatch(own)
    own = (_decoded(wrapped[1]) or own) if wrapped else own
    if family in _MISTRALS:
        return own if _MISTRAL_ID.fullmatch(own) else _digest(own)[:9]
    return own if len(own) <= _CHAT_ID_MOST else f"call_{_digest(own)}"


def signature_in(call_id: str) -> Signature | None:
    """Returns the thought signature of the call."""
    signed = _SIGNED.fullmatch(call_id) if MARK in call_id else None
    text = _decoded(signed["signature"]) if signed else None
    return Signature(text, signed["family"]) if signed and text else None


def for_client(call_id: str, signature: Signature | None = None) -> str:
    """Returns the id that a client of messages gets for the provider's id."""
    given = call_id if _MESSAGES_ID.fullmatch(call_id) and MARK not in call_id else _wrapped(call_id)
    if signature is None or not signature.text or len(signature.text) > SIGNATURE_MOST:
        return given
    return f"{given}-{MARK}-{signature.family}-{_encoded(signature.text)}"


def _wrapped(call_id: str) -> str:
    """Returns an id that holds another one, or a new id where that is too long. The random digits distinguish calls of
    servers that count them anew in each turn: Anthropic requires that ids are unique in the conversation.
    """
    wrapped = f"pllm-id-{secrets.token_hex(3)}-{_encoded(call_id)}"
    return wrapped if len(wrapped) <= _MESSAGES_ID_MOST else f"toolu_{secrets.token_hex(16)}"


def _unsigned(call_id: str) -> str:
    signed = _SIGNED.fullmatch(call_id) if MARK in call_id else None
    return signed["id"] if signed else call_id


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")


def _decoded(text: str) -> str | None:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def for_responses(call_id: str) -> str:
    return call_id if len(call_id) <= _RESPONSES_ID_MOST else f"call_{_digest(call_id)}"


def _digest(call_id: str) -> str:
    return hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
