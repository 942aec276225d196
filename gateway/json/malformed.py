"""The error for a provider's response that does not follow its dialect."""


class Malformed(Exception):
    """A provider's response does not follow its dialect."""

    before = b""  # the translation of the complete events before it in the same packet
