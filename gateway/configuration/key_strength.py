"""Finds keys that can be guessed or are published. They are refused where the network can try them."""

LEAST = 16  # characters; finding a random key of this length takes longer than a key is in use
HOW = "make one with: openssl rand -hex 24"
DISTINCT_LEAST = 6  # different characters; a random key of 16 hexadecimal digits has 10 on average
_PLACEHOLDERS = ("change-me", "change_me", "changeme", "replace-me", "replace_me")  # anywhere in a key
_BEGINNINGS = ("your-", "your_")
_ORDER = "01234567890abcdefghijklmnopqrstuvwxyza"
_STEPS = frozenset({*(_ORDER[at : at + 2] for at in range(len(_ORDER) - 1)), "9a"})
_RUN_SHARE = 2 / 3  # of the steps from one character to the next
# Keys in examples of this project, past ones included.
_PUBLISHED = frozenset({"check-admin-key-0123456789", "check-api-key-0123456789"})


def weakness(key: str) -> str | None:
    """Returns the weakness of a key in words, without the key; None for a key that may be exposed to the network."""
    lower = key.lower()
    if lower.startswith(_BEGINNINGS) or any(word in lower for word in _PLACEHOLDERS):
        return f"a placeholder and not a key; {HOW}"
    if key in _PUBLISHED:
        return f"a key that this project has published; {HOW}"
    if len(key) < LEAST:
        return f"a key of fewer than {LEAST} characters can be guessed; {HOW}"
    if len(set(key)) < DISTINCT_LEAST:
        return f"a key of fewer than {DISTINCT_LEAST} different characters can be guessed; {HOW}"
    if sum(lower[at : at + 2] in _STEPS for at in range(len(key) - 1)) > _RUN_SHARE * (len(key) - 1):
        return f"a key of characters in their usual order can be guessed; {HOW}"
    return None
