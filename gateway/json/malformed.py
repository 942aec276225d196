"""What a provider sent is not of its dialect."""


class Malformed(Exception):
    """``before``: the translation of the whole events that came before, in the same packet."""

    before = b""
