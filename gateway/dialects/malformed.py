"""What a provider sent is not of its dialect."""


class Malformed(Exception):
    pass
