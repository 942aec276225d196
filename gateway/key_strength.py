"""Keys that anyone can guess or has read somewhere: refused where the network can try them."""

LEAST = 16  # characters; a random one of these takes longer to find than the keys of a cluster live
HOW = "make one with: openssl rand -hex 24"
_PLACEHOLDERS = ("change-me", "change_me", "changeme", "replace-me", "replace_me", "your-", "your_")
# Of this project's own examples, past ones included.
_PUBLISHED = frozenset({"check-admin-key-0123456789", "check-api-key-0123456789"})


def weakness(key: str) -> str | None:
    """Returns what is wrong with a key, in words without the key; None for one that may be exposed."""
    if key.lower().startswith(_PLACEHOLDERS):
        return f"a placeholder and not a key; {HOW}"
    if key in _PUBLISHED:
        return f"a key that this project has published; {HOW}"
    if len(key) < LEAST:
        return f"a key of fewer than {LEAST} characters can be guessed; {HOW}"
    return None
